//! One at a time looks at the limits of a network and changes what it has seen: lenders and injections narrow the same ways,
//! and none can ask the others.
//!
//! A name of an abstract socket: there is one in each network namespace, and it ends with the process, however that ends.
//! Must not know what is done in the turn.

use std::{
    io::{self, Read},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    thread,
    time::Duration,
};

const NAME: &str = "ballast/network-limits";

/// How long one turn of another is waited for. A plan of a hundred containers takes some 15 ms.
const PATIENCE: Duration = Duration::from_millis(200);
/// How often others may come first. Many, for who has taken the name and does not listen on it yet costs one each time.
const ATTEMPTS: u32 = 1000;

/// Held from looking to having changed, and not for longer.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "closing it gives the name back")] UnixListener);

impl Turn {
    /// Waits for a turn in the network namespace of the calling thread. None when somebody does not let go of it, or the
    /// kernel refuses: who must act all the same does so without.
    #[must_use]
    pub fn take() -> Option<Self> {
        let name = SocketAddr::from_abstract_name(NAME).ok()?;
        for _ in 0..ATTEMPTS {
            match UnixListener::bind_addr(&name) {
                Ok(taken) => return Some(Self(taken)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => wait_for_the_end(&name)?,
                Err(_) => return None,
            }
        }
        None
    }
}

/// Who listens says nothing, but the kernel does when it ends. None where it does not in time.
fn wait_for_the_end(name: &SocketAddr) -> Option<()> {
    let Ok(mut other) = UnixStream::connect_addr(name) else {
        // It has ended by now, or does not listen yet.
        thread::yield_now();
        return Some(());
    };
    other.set_read_timeout(Some(PATIENCE)).ok()?;
    match other.read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        _ => Some(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;
    use crate::network::namespace::in_private;

    /// In a network of the test's own, where this machine can.
    fn alone(test: &str, work: impl FnOnce() + Send) {
        let done = in_private(Path::new("/proc"), || {
            work();
            Ok(())
        });
        if let Err(error) = done {
            eprintln!("SKIPPED {test}: {error}");
        }
    }

    #[test]
    fn turns_are_taken_one_after_the_other() {
        alone("turns_are_taken_one_after_the_other", || {
            let inside = AtomicU32::new(0);
            thread::scope(|threads| {
                for _ in 0..4 {
                    threads.spawn(|| {
                        for _ in 0..50 {
                            let turn = Turn::take().unwrap();
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            thread::yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(turn);
                        }
                    });
                }
            });
        });
    }

    #[test]
    fn who_does_not_let_go_is_not_waited_for_for_ever() {
        alone("who_does_not_let_go_is_not_waited_for_for_ever", || {
            let held = Turn::take().unwrap();
            assert!(Turn::take().is_none());
            drop(held);
            assert!(Turn::take().is_some());
        });
    }
}
