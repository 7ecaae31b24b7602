//! A service on port 8080; `app health` asks it whether it answers, since an image from scratch has nothing else to ask with.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("--version") => {
            println!("app 1.0");
            Ok(())
        }
        Some("health") => health(),
        _ => serve(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn health() -> io::Result<()> {
    let mut peer = TcpStream::connect("127.0.0.1:8080")?;
    peer.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    peer.read_to_string(&mut answer)?;
    match answer.starts_with("HTTP/1.0 200 ") {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::Other, answer)),
    }
}

fn serve() -> io::Result<()> {
    let door = TcpListener::bind("0.0.0.0:8080")?;
    println!("listening on 8080");
    for peer in door.incoming() {
        // A peer that went away is its own matter.
        let _ = peer.and_then(answer);
    }
    Ok(())
}

fn answer(mut peer: TcpStream) -> io::Result<()> {
    peer.read(&mut [0; 4096])?;
    peer.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello\n")
}
