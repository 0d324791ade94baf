//! The files that let this program in to a node: what they must be, and what of them is shown.
//!
//! Must not know what the node asks for, nor when to read.

use std::path::{Path, PathBuf};

use ballast_api::{
    Credentials, HttpNode,
    files::{read_open, read_secret},
};

use super::NodeClient;

/// Where they are; none are needed for a node on loopback that asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, clap::Args)]
pub struct NodeFiles {
    /// File of the token that the node asks for; nobody else may read it
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// PEM file of the CA that vouches for the node, for https
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// PEM file of this program's certificate, for mutual TLS
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// PEM file of its private key; nobody else may read it
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
}

impl NodeFiles {
    /// A client of the env-server at `url` that shows what the files hold, also when they change.
    ///
    /// # Errors
    /// A sentence: a file that cannot be read, that others can read, or that holds something else.
    pub fn client(&self, url: &str) -> Result<NodeClient, String> {
        NodeClient::open(url, self).map_err(|problems| problems.join("; "))
    }

    /// All of them.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let files = [&self.token_file, &self.ca_file, &self.cert_file, &self.key_file];
        files.into_iter().flatten().cloned().collect()
    }

    /// A client of `url` that shows what the files hold now.
    pub(super) fn read(&self, url: &str) -> Result<HttpNode, Vec<String>> {
        let credentials = self.credentials()?;
        HttpNode::with_credentials(url, &credentials).map_err(|error| vec![error.to_string()])
    }

    /// What the files hold now.
    ///
    /// # Errors
    /// A sentence for each file that cannot be read, that others can read, or that holds something else.
    pub fn credentials(&self) -> Result<Credentials, Vec<String>> {
        let mut problems = Vec::new();
        let credentials = Credentials {
            token: content(self.token_file.as_deref(), token, &mut problems),
            ca: content(self.ca_file.as_deref(), read_open, &mut problems),
            certificate: content(self.cert_file.as_deref(), read_open, &mut problems),
            key: content(self.key_file.as_deref(), read_secret, &mut problems),
        };
        if problems.is_empty() { Ok(credentials) } else { Err(problems) }
    }
}

fn content<T>(
    file: Option<&Path>,
    read: impl FnOnce(&Path) -> Result<T, String>,
    problems: &mut Vec<String>,
) -> Option<T> {
    read(file?).map_err(|problem| problems.push(problem)).ok()
}

/// The first line with something on it: the file may be the node's own, which holds two tokens while one is replaced.
fn token(path: &Path) -> Result<String, String> {
    let text = String::from_utf8(read_secret(path)?).map_err(|_| format!("{} is no text", path.display()))?;
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    first.map(str::to_owned).ok_or_else(|| format!("{} holds no token", path.display()))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    const URL: &str = "http://127.0.0.1:7400";

    fn told(files: &NodeFiles) -> String {
        files.client(URL).err().unwrap_or_default()
    }

    #[test]
    fn a_file_that_is_missing_or_wrong_is_named() {
        assert_eq!(told(&NodeFiles::default()), "");
        let [token_file, ca_file] = ["/nowhere/token", "/nowhere/ca"].map(|path| Some(PathBuf::from(path)));
        let missing = told(&NodeFiles { token_file, ca_file, ..NodeFiles::default() });
        assert!(missing.contains("/nowhere/token") && missing.contains("/nowhere/ca"), "{missing}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let files = NodeFiles { token_file: Some(path.clone()), ..NodeFiles::default() };
        let put = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        put("two words", 0o600);
        assert!(told(&files).contains("without spaces"));
        put(" \n", 0o600);
        assert!(told(&files).contains("holds no token"));
        put("0123456789abcdef\n", 0o644);
        assert!(told(&files).contains("chmod 600"));
        put("0123456789abcdef\n", 0o600);
        assert_eq!(told(&files), "");
    }

    #[test]
    fn of_two_tokens_the_first_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "\n old-0123456789abc \nnew-0123456789abc\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(token(&path).unwrap(), "old-0123456789abc");
    }
}
