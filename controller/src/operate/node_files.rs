//! The files that let this program in to a node: read here, shown by the client.
//!
//! Must not know what the node asks for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ballast_api::{Credentials, HttpNode};

/// Where they are; none are needed for a node on loopback that asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, clap::Args)]
pub struct NodeFiles {
    /// File of the token that the env-server asks for
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// PEM file of the CA that vouches for the env-server, for https
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// PEM file of this program's certificate, for mutual TLS
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
}

impl NodeFiles {
    /// A client of the env-server at `url` that shows what the files hold.
    ///
    /// # Errors
    /// A sentence: a file that cannot be read, or that holds something else.
    pub fn client(&self, url: &str) -> Result<HttpNode, String> {
        let token = self.token_file.as_deref().map(text).transpose()?;
        let [ca, certificate, key] = [&self.ca_file, &self.cert_file, &self.key_file]
            .map(|file| file.as_deref().map(read).transpose());
        let credentials = Credentials { token, ca: ca?, certificate: certificate?, key: key? };
        HttpNode::with_credentials(url, &credentials).map_err(|error| error.to_string())
    }
}

fn text(path: &Path) -> Result<String, String> {
    String::from_utf8(read(path)?).map_err(|_| format!("{} is no text", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missing_or_wrong_is_named() {
        let url = "http://127.0.0.1:7400";
        assert!(NodeFiles::default().client(url).is_ok());
        let token_file = Some(PathBuf::from("/nowhere/token"));
        let missing = NodeFiles { token_file, ..NodeFiles::default() }.client(url).unwrap_err();
        assert!(missing.contains("/nowhere/token"), "{missing}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "two words").unwrap();
        let files = NodeFiles { token_file: Some(path.clone()), ..NodeFiles::default() };
        assert!(files.client(url).unwrap_err().contains("without spaces"));
        fs::write(&path, "0123456789abcdef\n").unwrap();
        assert!(files.client(url).is_ok());
    }
}
