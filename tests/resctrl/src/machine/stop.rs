//! A machine that stops in the middle of what somebody does to it: for tests of what comes after.
//!
//! The kernel has nothing like it. Must not know what a change is.

use nix::errno::Errno;

use super::Machine;

/// How many changes are still carried out.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    /// No end where absent.
    left: Option<u64>,
    refused: u64,
}

impl Machine {
    /// Carries out so many changes (a group made or removed, a file written, whether the kernel likes it or not), and refuses
    /// every later one with EIO. What is read goes on.
    pub fn freeze_after(&mut self, changes: u64) {
        self.stop = Stop { left: Some(changes), refused: 0 };
    }

    /// Carries out changes again. Answers how many were refused.
    pub fn thaw(&mut self) -> u64 {
        std::mem::take(&mut self.stop).refused
    }

    /// Counts a change that is about to be made.
    pub(super) fn count_change(&mut self) -> Result<(), Errno> {
        match &mut self.stop.left {
            Some(0) => {
                self.stop.refused += 1;
                return Err(Errno::EIO);
            }
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(())
    }
}
