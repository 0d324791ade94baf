//! One injection at a time on one place: two would take each other's state for what was before, or end each other.
//!
//! A name of an abstract socket: there is one in each network namespace, and it ends with the process, however that ends.
//! Must not know what is done at the place.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    time::Duration,
};

use crate::{clocks, error::InjectorError};

/// How long an injection before may take to clean up: one that begins when that ends need not be refused.
const PATIENCE: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Held until it is dropped: when all is cleaned up.
#[derive(Debug)]
pub(crate) struct Claim(#[expect(dead_code, reason = "closing it gives the name back")] UnixListener);

impl Claim {
    /// Takes the `place` of this number, seen from the network namespace of the calling thread, to do `what`.
    ///
    /// # Errors
    /// [`InjectorError::Impossible`] when another injection stays at it.
    pub(crate) fn take(place: &str, number: u64, what: &'static str) -> Result<Self, InjectorError> {
        let name = SocketAddr::from_abstract_name(format!("ballast-injector/{place}/{number}"));
        let name = name.map_err(failed)?;
        let end = clocks::monotonic() + PATIENCE;
        loop {
            match UnixListener::bind_addr(&name) {
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => return Err(failed(error)),
                Err(_) if clocks::monotonic() < end => clocks::sleep_until(clocks::monotonic() + LOOK_AGAIN),
                Err(_) => {
                    let reason = "another injection is at it: wait for its end".to_owned();
                    return Err(InjectorError::Impossible { what, reason });
                }
                Ok(taken) => return Ok(Self(taken)),
            }
        }
    }
}

fn failed(source: io::Error) -> InjectorError {
    InjectorError::Process { operation: "claim the target", source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: u64 = u64::MAX - 7;

    fn take(place: &str) -> Result<Claim, InjectorError> {
        Claim::take(place, NUMBER, "test")
    }

    #[test]
    fn a_place_is_claimed_by_one_at_a_time() {
        let claim = take("test").unwrap();
        assert!(take("test").unwrap_err().to_string().contains("another injection"));
        assert!(take("other").is_ok());
        drop(claim);
        assert!(take("test").is_ok());
    }

    #[test]
    fn who_comes_when_the_one_before_cleans_up_waits_for_it() {
        let before = take("clearing").unwrap();
        std::thread::scope(|threads| {
            threads.spawn(|| {
                clocks::sleep_until(clocks::monotonic() + PATIENCE / 5);
                drop(before);
            });
            assert!(take("clearing").is_ok());
        });
    }
}
