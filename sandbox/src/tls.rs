//! TLS in front of a plain server on loopback: what a GitLab whose certificate comes from a private CA looks like.
//!
//! It ends TLS and passes bytes on, both ways; it knows nothing of what it carries.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{CertifiedIssuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::controlplane::certs;

/// A private CA.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one, with a new key.
    ///
    /// # Errors
    /// No key could be made.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self(certs::authority()?))
    }

    /// Its certificate, as clients are given it.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server with a new certificate for loopback.
    fn server(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let identity = certs::issue(&self.0, "pipekick-sandbox", None, &["127.0.0.1", "localhost"])?;
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        Ok(Arc::new(config))
    }
}

/// A running front. It ends when dropped, or with the runtime it was started on.
pub struct TlsFront {
    address: SocketAddr,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    to: SocketAddr,
    listener: Arc<TcpListener>,
    serving: JoinHandle<()>,
}

impl TlsFront {
    /// Starts one on a free port, in front of `to`, with a certificate of this CA.
    ///
    /// # Errors
    /// Nothing can be listened on.
    pub async fn start(to: SocketAddr, authority: &Authority) -> anyhow::Result<Self> {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await?);
        let config = Arc::new(Mutex::new(authority.server()?));
        let address = listener.local_addr()?;
        let serving = tokio::spawn(serve(Arc::clone(&listener), Arc::clone(&config), to));
        Ok(Self { address, config, to, listener, serving })
    }

    /// Its address, as a base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Goes on with a certificate of another CA; connections that stand are closed.
    ///
    /// # Errors
    /// No key could be made.
    pub fn rotate(&mut self, authority: &Authority) -> anyhow::Result<()> {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = authority.server()?;
        self.serving.abort();
        self.serving = tokio::spawn(serve(Arc::clone(&self.listener), Arc::clone(&self.config), self.to));
        Ok(())
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: Arc<TcpListener>, config: Arc<Mutex<Arc<ServerConfig>>>, to: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let config = Arc::clone(&config.lock().unwrap_or_else(PoisonError::into_inner));
                // Whoever does not believe the certificate goes away: its own business.
                connections.spawn(pass_on(stream, config, to));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass_on(stream: TcpStream, config: Arc<ServerConfig>, to: SocketAddr) -> io::Result<()> {
    let mut client = TlsAcceptor::from(config).accept(stream).await?;
    let mut server = TcpStream::connect(to).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
