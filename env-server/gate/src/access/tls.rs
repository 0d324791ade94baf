//! TLS: the certificate that this node shows, whom it asks for one, and the role that a certificate gives.
//!
//! Must not know of connections.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ballast_api::files::{read_open, read_secret};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use webpki::EndEntityCert;

use super::{Role, expiry};

/// Which name in a client's certificate gives which role: a URI among its subject alternative names.
const ROLES: [(&str, Role); 2] = [("ballast:observe", Role::Observe), ("ballast:act", Role::Act)];

/// What the files say.
pub(crate) struct Tls {
    /// How connections are secured.
    pub(crate) config: Arc<ServerConfig>,
    /// When this node's certificate ends, in seconds of Unix time, where that can be read.
    pub(super) ends_at: Option<u64>,
    /// Who vouches for clients.
    pub(super) clients: Vec<CertificateDer<'static>>,
}

/// Where the PEM files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The node's certificate, and the chain that leads to its CA.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who vouches for clients. Where it is there, every client must have a certificate: mutual TLS.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// All of them.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Reads them.
    pub(super) fn read(&self) -> Result<Tls, Vec<String>> {
        let (chain, key, verifier) = (self.chain(), self.private_key(), self.verifier());
        let (chain, key, (verifier, clients)) = match (chain, key, verifier) {
            (Ok(chain), Ok(key), Ok(verifier)) => (chain, key, verifier),
            (chain, key, verifier) => {
                return Err([chain.err(), key.err(), verifier.err()].into_iter().flatten().collect());
            }
        };
        let unusable = |error: rustls::Error| {
            vec![format!("{} and {} cannot be used: {error}", self.certificate.display(), self.key.display())]
        };
        let ends_at = chain.first().and_then(|certificate| expiry::ends_at(certificate));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        Ok(Tls { config: Arc::new(config), ends_at, clients })
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        certificates(&self.certificate)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, String> {
        let pem = read_secret(&self.key)?;
        PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|error| format!("{} holds no PEM private key: {error}", self.key.display()))
    }

    /// What checks clients, and the certificates that it checks them against.
    fn verifier(&self) -> Result<(Arc<dyn ClientCertVerifier>, Vec<CertificateDer<'static>>), String> {
        let Some(path) = &self.client_ca else {
            return Ok((WebPkiClientVerifier::no_client_auth(), Vec::new()));
        };
        let unusable = |error: &dyn std::error::Error| format!("{} cannot be used: {error}", path.display());
        let (mut roots, clients) = (RootCertStore::empty(), certificates(path)?);
        for certificate in &clients {
            roots.add(certificate.clone()).map_err(|error| unusable(&error))?;
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| unusable(&error))?;
        Ok((verifier, clients))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read_open(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("{} holds no PEM certificate", path.display())),
        Err(error) => Err(format!("{} is no PEM file of certificates: {error}", path.display())),
    }
}

/// The highest role that a client's certificate names; its CA has been checked by then.
pub(crate) fn role_of(certificate: &CertificateDer<'_>) -> Option<Role> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let roles = certificate
        .valid_uri_names()
        .filter_map(|uri| ROLES.iter().find(|(name, _)| *name == uri).map(|(_, role)| *role));
    roles.max()
}
