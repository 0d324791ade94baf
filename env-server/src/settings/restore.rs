//! The one setting that `restore` needs: where the journal is.
//!
//! Must not look at it.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::cli::{DEFAULT_STATE_DIR, RestoreFlags};

/// Where the journal is for `restore`. Whatever else is wrong with the file: it must not keep limits lent.
///
/// # Errors
/// A sentence, when the file is no TOML or names no folder where it should.
pub fn state_dir(flags: &RestoreFlags, file: Option<(&Path, &str)>) -> Result<PathBuf, String> {
    if let Some(state_dir) = &flags.state_dir {
        return Ok(state_dir.clone());
    }
    let Some((path, text)) = file else { return Ok(DEFAULT_STATE_DIR.into()) };
    let told = |problem: String| format!("{}: {problem}", path.display());
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| told(error.to_string()))?;
    match table.remove("state_dir") {
        None => Ok(DEFAULT_STATE_DIR.into()),
        Some(Value::String(state_dir)) => Ok(state_dir.into()),
        Some(other) => Err(told(format!("state_dir must be text in quotes, not {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restore_finds_the_journal_whatever_else_the_file_says() {
        let of = |flag: Option<&str>, text: Option<&str>| {
            let flags = RestoreFlags { state_dir: flag.map(PathBuf::from), config: None, json: false };
            state_dir(&flags, text.map(|text| (Path::new("f.toml"), text)))
        };
        assert_eq!(of(None, None).unwrap(), Path::new(DEFAULT_STATE_DIR));
        assert_eq!(of(None, Some("nod = 1")).unwrap(), Path::new(DEFAULT_STATE_DIR));
        assert_eq!(of(None, Some("nod = 1\nstate_dir = '/s'")).unwrap(), Path::new("/s"));
        assert_eq!(of(Some("/flag"), Some("state_dir = '/s'")).unwrap(), Path::new("/flag"));
        for bad in ["state_dir = 7", "state_dir ="] {
            assert!(of(None, Some(bad)).unwrap_err().starts_with("f.toml: "), "{bad}");
        }
    }
}
