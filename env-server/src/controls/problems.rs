//! What the kernel's refusals mean for who asked: a limit that is out of range, or one that a container lacks.
//!
//! Pure; must not know which limit it is.

use ballast_api::{CgroupVersion, with_causes};
use ballast_kernel::{Hierarchy, KernelError};

/// Why a limit that this machine has cannot be read of one container. On cgroup v2 its files are there where the parent hands
/// the controller down.
pub(crate) fn why_not(hierarchy: &Hierarchy, error: &KernelError) -> String {
    match hierarchy.version() {
        CgroupVersion::V2 if error.is_gone() => {
            format!("{}: its parent does not hand the controller down", with_causes(error))
        }
        _ => with_causes(error),
    }
}

/// A limit that cannot be had is left out, and becomes a problem, a sentence. Other failures stay.
pub(super) fn in_range<T>(
    rounded: Result<T, KernelError>,
    problems: &mut Vec<String>,
) -> Result<Option<T>, KernelError> {
    match rounded {
        Ok(rounded) => Ok(Some(rounded)),
        Err(KernelError::LimitTooSmall { asked, smallest, .. }) => {
            problems.push(format!("{asked} is too little, the smallest limit is {smallest}"));
            Ok(None)
        }
        Err(
            error @ (KernelError::AboveAncestor { .. }
            | KernelError::RateTooSmall { .. }
            | KernelError::NotOurs { .. }
            | KernelError::LimitUnavailable { .. }),
        ) => {
            problems.push(error.to_string());
            Ok(None)
        }
        Err(KernelError::LimitTooLarge { asked, largest, .. }) => {
            problems.push(format!(
                "{asked} is too much, the largest limit is {largest}; write \"max\" for no limit"
            ));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
