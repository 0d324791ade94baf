//! Bearer tokens, and the role that each gives.
//!
//! Must not know how a token got here.

use std::path::{Path, PathBuf};

use ballast_api::files::read_secret;
use subtle::{Choice, ConstantTimeEq};

use super::Role;

/// Short ones could be guessed, even at a hundred a second.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=512;

/// Where tokens are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenFiles {
    /// Those that may see.
    pub observe: Option<PathBuf>,
    /// Those that may act too.
    pub act: Option<PathBuf>,
}

impl TokenFiles {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.observe.is_none() && self.act.is_none()
    }

    /// All of them.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.observe.iter().chain(&self.act).cloned().collect()
    }
}

/// The tokens in force.
pub(super) struct Tokens(Vec<(Role, Vec<u8>)>);

impl Tokens {
    /// One token on each line: two while one is replaced.
    pub(super) fn read(files: &TokenFiles) -> Result<Self, Vec<String>> {
        let (mut tokens, mut problems) = (Vec::new(), Vec::new());
        for (role, file) in [(Role::Observe, &files.observe), (Role::Act, &files.act)] {
            let Some(file) = file else { continue };
            match read_secret(file).and_then(|text| tokens_of(&text, file)) {
                Ok(read) => tokens.extend(read.into_iter().map(|token| (role, token))),
                Err(problem) => problems.push(problem),
            }
        }
        let of = |wanted: Role| tokens.iter().filter(move |(role, _)| *role == wanted);
        if of(Role::Observe).any(|(_, token)| of(Role::Act).any(|(_, other)| token == other)) {
            problems.push("a token stands in both token files: which role is it to give?".to_owned());
        }
        if problems.is_empty() { Ok(Self(tokens)) } else { Err(problems) }
    }

    /// The role that `offered` gives. Takes as long for a wrong token as for a right one of its length.
    pub(super) fn role_of(&self, offered: &[u8]) -> Option<Role> {
        let mut found = None;
        for (role, token) in &self.0 {
            let same: Choice = token.as_slice().ct_eq(offered);
            if bool::from(same) {
                found = Some(*role);
            }
        }
        found
    }
}

fn tokens_of(text: &[u8], file: &Path) -> Result<Vec<Vec<u8>>, String> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let tokens: Vec<_> = lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
    let usable = |token: &Vec<u8>| LENGTHS.contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
    if tokens.is_empty() || !tokens.iter().all(usable) {
        return Err(format!(
            "{} must hold a token of {} to {} printable ASCII characters without spaces on each line",
            file.display(),
            LENGTHS.start(),
            LENGTHS.end()
        ));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn tokens(observe: &str, act: &str) -> Result<Tokens, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            Some(path)
        };
        Tokens::read(&TokenFiles { observe: file("o", observe), act: file("a", act) })
    }

    #[test]
    fn a_token_gives_its_role_and_nothing_like_it_does() {
        let tokens = tokens("observe-0123456789\n", "act-0123456789abc\n\nold-0123456789abc").unwrap();
        assert_eq!(tokens.role_of(b"observe-0123456789"), Some(Role::Observe));
        assert_eq!(tokens.role_of(b"act-0123456789abc"), Some(Role::Act));
        assert_eq!(tokens.role_of(b"old-0123456789abc"), Some(Role::Act));
        for wrong in [&b""[..], b"act-0123456789ab", b"act-0123456789abcd", b"ACT-0123456789abc"] {
            assert_eq!(tokens.role_of(wrong), None);
        }
    }

    #[test]
    fn every_problem_of_both_files_is_told() {
        let problems = tokens("short", "with a space 0123456789").err().unwrap();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(tokens("", "act-0123456789abc").is_err());
        let both = tokens("act-0123456789abc", "act-0123456789abc").err().unwrap();
        assert!(both[0].contains("both"), "{both:?}");
    }
}
