//! The four TLS modes. Without `verify-full` any certificate will do, as with
//! libpq.

use std::sync::{Arc, LazyLock};

use der::asn1::AnyRef;
use der::{Reader, SliceReader};
use drover::model::TlsMode;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256, Sha384, Sha512};
use spki::AlgorithmIdentifierRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::wire::Stream;
use super::{Login, PostgresError};

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(ring::default_provider()));

static ANY: LazyLock<Result<Arc<ClientConfig>, rustls::Error>> = LazyLock::new(|| {
    let algorithms = PROVIDER.signature_verification_algorithms;
    let config = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(algorithms)))
        .with_no_client_auth();
    Ok(Arc::new(config))
});

/// Whether a certificate that is pinned is for this address: customers look at that too.
pub(crate) fn is_for(pem: &str, address: &str) -> bool {
    let Ok(name) = ServerName::try_from(address) else {
        return false;
    };
    let mut all = CertificateDer::pem_slice_iter(pem.as_bytes()).flatten();
    all.any(|certificate| {
        let parsed = ParsedCertificate::try_from(&certificate);
        parsed.is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
    })
}

/// Read once: there are well over a hundred.
static SYSTEM: LazyLock<Result<Arc<ClientConfig>, rustls::Error>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    trusting(roots)
});

/// Whether others on the network can read along.
pub(super) enum Encrypted {
    Yes {
        /// What a login is bound to (RFC 5929, tls-server-end-point); `None`: the certificate
        /// is signed in a way that has no hash for it.
        end: Option<Vec<u8>>,
    },
    No,
}

/// Asks for TLS as the mode says, and shakes hands. Tells whether what is said
/// from now on is encrypted.
pub(super) async fn wrap(
    mut stream: TcpStream,
    login: &Login<'_>,
) -> Result<(Box<dyn Stream>, Encrypted), PostgresError> {
    let config = match login.tls_mode {
        TlsMode::Disable => return Ok((Box::new(stream), Encrypted::No)),
        TlsMode::Prefer | TlsMode::Require => ANY.clone(),
        TlsMode::VerifyFull => match login.tls_root_cert {
            Some(pem) => authorities(pem).and_then(trusting),
            None => SYSTEM.clone(),
        },
    };
    let config = config.map_err(|e| PostgresError::Tls(e.to_string()))?;
    if !offered(&mut stream).await? {
        return match login.tls_mode {
            TlsMode::Disable | TlsMode::Prefer => Ok((Box::new(stream), Encrypted::No)),
            TlsMode::Require | TlsMode::VerifyFull => {
                Err(PostgresError::Tls("the server has no TLS".into()))
            }
        };
    }
    let name = ServerName::try_from(login.address.to_owned())
        .map_err(|e| PostgresError::Tls(e.to_string()))?;
    let stream = TlsConnector::from(config).connect(name, stream).await;
    match stream {
        Ok(stream) => {
            let (_, session) = stream.get_ref();
            let shown = session.peer_certificates().and_then(<[_]>::first);
            let end = shown.and_then(end_point);
            Ok((Box::new(stream), Encrypted::Yes { end }))
        }
        // rustls wraps its own errors in those of I/O.
        Err(e) if e.get_ref().is_some_and(|e| e.is::<rustls::Error>()) => {
            Err(PostgresError::Tls(e.to_string()))
        }
        Err(e) => Err(e.into()),
    }
}

/// The hash of a certificate, by the hash that its signature uses; SHA-256 in place of those
/// that are broken.
fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let mut reader = SliceReader::new(certificate).ok()?;
    let algorithm = reader.sequence(|parts| {
        let _signed: AnyRef<'_> = parts.decode()?;
        let algorithm: AlgorithmIdentifierRef<'_> = parts.decode()?;
        let _signature: AnyRef<'_> = parts.decode()?;
        Ok::<_, der::Error>(algorithm.oid.to_string())
    });
    let hash = match algorithm.ok()?.as_str() {
        // RSA and ECDSA with MD5, SHA-1 or SHA-256.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.10045.4.1"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.3.2" => Sha256::digest(certificate).to_vec(),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Sha384::digest(certificate).to_vec(),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Sha512::digest(certificate).to_vec(),
        _ => return None,
    };
    Some(hash)
}

/// Whether the server answers the request for TLS with yes.
async fn offered(stream: &mut TcpStream) -> Result<bool, PostgresError> {
    let mut request = bytes::BytesMut::new();
    postgres_protocol::message::frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    // One byte and no more: what follows belongs to the handshake.
    match stream.read_u8().await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        other => Err(PostgresError::Protocol(format!(
            "not what PostgreSQL says: {:?} when asked for TLS",
            char::from(other)
        ))),
    }
}

fn authorities(pem: &str) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|e| rustls::Error::General(e.to_string()))?;
        roots.add(certificate)?;
    }
    Ok(roots)
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Encryption without identity: what `prefer` and `require` promise.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::is_for;

    /// As `prelude/certify.sh` makes them.
    const FOR_192_0_2_1: &str = "-----BEGIN CERTIFICATE-----
MIIBgDCCASWgAwIBAgIUVzgswtRvaEn4pCjxyWP6ZbhM8/MwCgYIKoZIzj0EAwIw
DjEMMAoGA1UEAwwDYXBwMB4XDTI2MTEyNjEzMDc0M1oXDTM2MTEyMzEzMDc0M1ow
DjEMMAoGA1UEAwwDYXBwMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE0S/aDzDF
lWnZyVi7qmAHEBTPW/yAX3baakFd0/HpRB4547QssuAYroiaCEV972I6D8Jqadm6
4qbOCHqnMzDY+aNhMF8wHQYDVR0OBBYEFLlQrrmTH7lkD1ar3HCiJ/jEj/oPMB8G
A1UdIwQYMBaAFLlQrrmTH7lkD1ar3HCiJ/jEj/oPMA8GA1UdEQQIMAaHBMAAAgEw
DAYDVR0TAQH/BAIwADAKBggqhkjOPQQDAgNJADBGAiEA1b7YpQhOlKBUWrF0FWCW
2I2Cx6Mvkmml0m6faCkgSKwCIQCrujXIXOdB5+oGhfAO3GZRn0A4AQthVJm/hucF
UEXrOQ==
-----END CERTIFICATE-----";

    #[test]
    fn a_certificate_is_for_the_address_that_it_names() {
        assert!(is_for(FOR_192_0_2_1, "192.0.2.1"));
        for other in ["192.0.2.2", "db.example.org", "app", ""] {
            assert!(!is_for(FOR_192_0_2_1, other), "{other}");
        }
        assert!(!is_for("nothing", "192.0.2.1"));
    }
}
