//! What a client shows to a node that does not let everybody in, and how it knows the node.
//!
//! Contents only; must not know of files.

use std::{fmt, sync::Arc};

use hyper::header::HeaderValue;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// Nothing, by default: enough for an env-server on loopback that asks for nothing.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The bearer token. White space around it is left out.
    pub token: Option<String>,
    /// PEM certificates of those who may vouch for the node; needed for `https`. The system's are not asked.
    pub ca: Option<Vec<u8>>,
    /// PEM certificate (and chain) of this client.
    pub certificate: Option<Vec<u8>>,
    /// PEM private key of this client.
    pub key: Option<Vec<u8>>,
}

impl fmt::Debug for Credentials {
    /// Says what is there, never what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("token", &self.token.is_some())
            .field("ca", &self.ca.is_some())
            .field("certificate", &self.certificate.is_some())
            .field("key", &self.key.is_some())
            .finish()
    }
}

impl Credentials {
    /// The `Authorization` header, or a sentence about what is wrong with the token.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let Some(token) = self.token.as_deref().map(str::trim) else { return Ok(None) };
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the token must be printable ASCII without spaces, and not empty".to_owned());
        }
        let mut header =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| error.to_string())?;
        header.set_sensitive(true);
        Ok(Some(header))
    }

    /// How TLS connections are made, or a sentence about what is wrong.
    pub(super) fn tls(&self) -> Result<ClientConfig, String> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(self.roots()?);
        match (&self.certificate, &self.key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(certificate), Some(key)) => {
                let chain = certificates("client certificate", certificate)?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|error| format!("the client key is no PEM private key: {error}"))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("the client certificate and key cannot be used: {error}"))
            }
            _ => Err("a client certificate and its key go together: one of them is missing".to_owned()),
        }
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let Some(ca) = &self.ca else { return Ok(roots) };
        for certificate in certificates("CA", ca)? {
            roots.add(certificate).map_err(|error| format!("the CA cannot be used: {error}"))?;
        }
        Ok(roots)
    }
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("the {what} holds no PEM certificate")),
        Err(error) => Err(format!("the {what} is no PEM certificate: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_trimmed_and_never_shown() {
        let credentials = Credentials { token: Some("  s3cret\n".to_owned()), ..Credentials::default() };
        let header = credentials.authorization().unwrap().unwrap();
        assert_eq!(header.to_str().unwrap(), "Bearer s3cret");
        assert!(!format!("{credentials:?} {header:?}").contains("s3cret"));
    }

    #[test]
    fn what_cannot_be_used_is_a_sentence() {
        for token in ["", " \n", "two words", "ü"] {
            let credentials = Credentials { token: Some(token.to_owned()), ..Credentials::default() };
            assert!(credentials.authorization().is_err(), "{token:?}");
        }
        let alone = Credentials { key: Some(b"x".to_vec()), ..Credentials::default() };
        assert!(alone.tls().unwrap_err().contains("go together"));
        let ca = Credentials { ca: Some(b"no certificate".to_vec()), ..Credentials::default() };
        assert!(ca.tls().unwrap_err().contains("no PEM certificate"));
    }
}
