//! Messages between rbuild's own processes: length-prefixed JSON over a Unix stream socket, with descriptors attached. The
//! invariant: what arrives is bounded ([`MAX_FRAME`], [`MAX_FDS`]) and complete, or an error.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest message, in bytes. A plan is a few kilobytes; a large environment may be some hundred.
const MAX_FRAME: usize = 64 << 20;
/// SCM_MAX_FD of the kernel is 253, unix(7).
const MAX_FDS: usize = 250;

/// Sends one message and its descriptors.
///
/// # Errors
/// Those of sendmsg(2), or too many descriptors.
pub fn send<T: Serialize>(
    mut socket: &UnixStream,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = serde_json::to_vec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len())
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?
        .to_le_bytes();
    if fds.len() > MAX_FDS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // One call, so that the reader is woken once. The descriptors ride on the length: the body may be read in pieces.
    let sent = rustix::net::sendmsg(
        socket.as_fd(),
        &[IoSlice::new(&length), IoSlice::new(&body)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    socket.write_all(length.get(sent..).unwrap_or_default())?;
    socket.write_all(&body[sent.saturating_sub(length.len())..])
}

/// Receives one message and its descriptors, or `None` at the end of the stream.
///
/// # Errors
/// Those of recvmsg(2); what is too large, or no such message.
pub fn receive<T: DeserializeOwned>(
    mut socket: &UnixStream,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut length = [0; 4];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match rustix::net::recvmsg(
            socket.as_fd(),
            &mut [IoSliceMut::new(&mut length)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?.bytes,
        }
    };
    if received == 0 {
        return Ok(None);
    }
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    socket.read_exact(&mut length[received..])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body)?;
    Ok(Some((
        serde_json::from_slice(&body).map_err(io::Error::other)?,
        fds,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Seek;

    #[test]
    fn a_message_arrives_with_its_descriptors() {
        let (a, b) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"through").unwrap();
        file.rewind().unwrap();
        send(&a, &vec!["x"; 3], &[file.as_fd()]).unwrap();
        let (message, fds): (Vec<String>, _) = receive(&b).unwrap().unwrap();
        assert_eq!(message, ["x", "x", "x"]);
        let mut text = String::new();
        File::from(fds.into_iter().next().unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn a_message_that_is_larger_than_the_sockets_buffer_arrives_whole() {
        let (a, b) = UnixStream::pair().unwrap();
        let text = "x".repeat(3 << 20);
        let sent = text.clone();
        let sender = std::thread::spawn(move || {
            let file = tempfile::tempfile().unwrap();
            send(&a, &sent, &[file.as_fd()]).unwrap();
            send(&a, &"after", &[]).unwrap();
        });
        let (first, fds): (String, _) = receive(&b).unwrap().unwrap();
        assert!(first == text, "{} bytes came", first.len());
        assert_eq!(fds.len(), 1);
        let (second, fds): (String, _) = receive(&b).unwrap().unwrap();
        assert_eq!((second.as_str(), fds.len()), ("after", 0));
        sender.join().unwrap();
    }

    #[test]
    fn the_end_of_the_stream_is_not_an_error_but_half_a_message_is() {
        let (a, b) = UnixStream::pair().unwrap();
        (&a).write_all(&[9, 0, 0, 0, b'"']).unwrap();
        drop(a);
        assert!(receive::<String>(&b).is_err());
        let (a, b) = UnixStream::pair().unwrap();
        drop(a);
        assert!(receive::<String>(&b).unwrap().is_none());
    }

    #[test]
    fn s72_an_absurd_length_is_refused_before_memory_is_taken() {
        let (a, b) = UnixStream::pair().unwrap();
        (&a).write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert!(receive::<String>(&b).is_err());
    }
}
