//! RB401 in an image: ports below 1024.

use super::{ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    if !image.is_ordinary() {
        return;
    }
    for port in &image.ports {
        let number = port
            .split(['/', '-'])
            .next()
            .and_then(|port| port.parse::<u16>().ok());
        if let Some(number) = number.filter(|number| (1..seen.limits.first_port).contains(number)) {
            let message = format!("port {number} can be opened by root only, and USER is not root");
            seen.add(
                Place::Port(port.clone()),
                message,
                format!(
                    "have the program listen on a port of {} or above",
                    seen.limits.first_port
                ),
            );
        }
    }
}
