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
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
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
        Ok(Tls { config: Arc::new(without_resumption(config)), ends_at, clients })
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

/// A session that is resumed brings the client's certificate along unchecked: one that has expired since would get in.
fn without_resumption(mut config: ServerConfig) -> ServerConfig {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    };
    use rustls::{
        ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, ServerConnection,
        SupportedProtocolVersion,
        version::{TLS12, TLS13},
    };

    use super::*;

    type Ca = CertifiedIssuer<'static, KeyPair>;

    fn ca() -> Ca {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// A certificate for `n1` that `ca` signed, and its key, as PEM.
    fn signed(ca: &Ca, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut params = CertificateParams::new(vec!["n1".to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, ca).unwrap().pem(), key.serialize_pem())
    }

    /// Mutual TLS, with `ca` vouching for both sides.
    fn server(ca: &Ca) -> Arc<ServerConfig> {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let (certificate, key) = signed(ca, ExtendedKeyUsagePurpose::ServerAuth);
        let files = TlsFiles {
            certificate: put("cert.pem", &certificate),
            key: put("key.pem", &key),
            client_ca: Some(put("ca.pem", &ca.pem())),
        };
        files.read().map_err(|problems| problems.join("; ")).unwrap().config
    }

    /// One that keeps every session that it is offered, and would rather resume one than begin anew.
    fn client(ca: &Ca, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        let (certificate, key) = signed(ca, ExtendedKeyUsagePurpose::ClientAuth);
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            );
        Arc::new(config.unwrap())
    }

    fn carry<F, T>(from: &mut ConnectionCommon<F>, to: &mut ConnectionCommon<T>) {
        let mut bytes = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut bytes).unwrap();
        }
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            to.read_tls(&mut bytes).unwrap();
            to.process_new_packets().unwrap();
        }
    }

    fn shake_hands(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Option<HandshakeKind> {
        let mut client = ClientConnection::new(client.clone(), "n1".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(server.clone()).unwrap();
        // More often than it takes: what a session is resumed with comes afterwards.
        for _ in 0..4 {
            carry(&mut client, &mut server);
            carry(&mut server, &mut client);
        }
        assert!(server.peer_certificates().is_some() && !server.is_handshaking());
        server.handshake_kind()
    }

    #[test]
    fn who_comes_back_shows_the_certificate_anew() {
        let ca = ca();
        let server = server(&ca);
        for version in [&TLS12, &TLS13] {
            let client = client(&ca, version);
            for _ in 0..3 {
                assert_eq!(shake_hands(&client, &server), Some(HandshakeKind::Full), "{version:?}");
            }
        }
    }
}
