//! Who is asked, and the bytes of the request: both are fixed before the first one is sent.
//!
//! Must not know when requests are sent nor how answers are read.

use std::{
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use url::Url;

use super::error::LoadError;

/// How long each of a host's several addresses has to accept a connection at the start.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(1);

/// Fields that this program writes itself, since it reads the answers.
const OWN_FIELDS: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// A request, as asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Where.
    pub url: String,
    /// GET and so on.
    pub method: String,
    /// Each as `Name: value`.
    pub headers: Vec<String>,
    /// What is sent along.
    pub body: Option<String>,
}

impl Asked {
    /// Whether it can be sent, if there is somebody to send it to.
    ///
    /// # Errors
    /// When the URL is not one of plain HTTP, or a header cannot be sent.
    pub fn check(&self) -> Result<(), LoadError> {
        render(self, &parse(&self.url)?).map(drop)
    }
}

/// A request, ready to send.
#[derive(Debug, Clone)]
pub struct Target {
    /// As asked.
    pub url: String,
    /// GET and so on.
    pub method: String,
    /// Where it goes.
    pub address: SocketAddr,
    /// All of it.
    pub request: Vec<u8>,
}

impl Target {
    /// Resolves the host, and renders the request. Of several addresses, the first one that accepts a connection.
    ///
    /// # Errors
    /// When the URL is not one of plain HTTP, the host has no address, or a header cannot be sent.
    pub fn find(asked: &Asked) -> Result<Self, LoadError> {
        let url = parse(&asked.url)?;
        let request = render(asked, &url)?;
        Ok(Self { url: asked.url.clone(), method: asked.method.clone(), address: resolve(&url)?, request })
    }

    /// Whether answers have no body, whatever their head says.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }
}

fn parse(text: &str) -> Result<Url, LoadError> {
    let bad = |problem: String| LoadError::Url { url: text.to_owned(), problem };
    let url = Url::parse(text).map_err(|error| {
        bad(format!("{error}; write http://HOST:PORT/PATH, such as http://127.0.0.1:8080/"))
    })?;
    match url.scheme() {
        "http" => {}
        "https" => {
            return Err(bad(
                "https is not supported: encrypting would cost the time that is to be measured; \
                 ask the service behind the TLS endpoint, or a local proxy that speaks TLS to it"
                    .to_owned(),
            ));
        }
        other => return Err(bad(format!("{other} is not supported: only http is"))),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("a user in it is not sent: give --header 'Authorization: ...'".to_owned()));
    }
    Ok(url)
}

fn resolve(url: &Url) -> Result<SocketAddr, LoadError> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(80);
    let unresolved = |source| LoadError::Unresolved { host: host.to_owned(), source };
    // An IPv6 address has brackets in a URL, and none elsewhere.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = (name, port).to_socket_addrs().map_err(unresolved)?.collect();
    let first = addresses
        .first()
        .ok_or_else(|| unresolved(std::io::Error::other("the resolver knows the name, but no address")))?;
    let accepts = |address: &&SocketAddr| TcpStream::connect_timeout(address, ADDRESS_PATIENCE).is_ok();
    // With a single one there is no choice: nobody is bothered.
    let chosen = if addresses.len() > 1 { addresses.iter().find(accepts) } else { None };
    Ok(*chosen.unwrap_or(first))
}

fn render(asked: &Asked, url: &Url) -> Result<Vec<u8>, LoadError> {
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut head = format!("{} {path} HTTP/1.1\r\n", asked.method);
    let mut names = Vec::new();
    for header in &asked.headers {
        let (name, value) = checked(header)?;
        head.push_str(&format!("{name}: {value}\r\n"));
        names.push(name.to_ascii_lowercase());
    }
    let mut unless_given = |name: &str, value: &str| {
        if !names.contains(&name.to_ascii_lowercase()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    };
    unless_given("Host", &url[url::Position::BeforeHost..url::Position::AfterPort]);
    unless_given("User-Agent", concat!("ballast-injector/", env!("CARGO_PKG_VERSION")));
    unless_given("Accept", "*/*");
    let body = asked.body.as_deref().unwrap_or_default();
    if asked.body.is_some() || matches!(asked.method.as_str(), "POST" | "PUT" | "PATCH") {
        unless_given("Content-Length", &body.len().to_string());
    }
    head.push_str("\r\n");
    head.push_str(body);
    Ok(head.into_bytes())
}

/// Name and value of a header that cannot break the request.
fn checked(header: &str) -> Result<(&str, &str), LoadError> {
    let bad = |problem| LoadError::Header { header: header.to_owned(), problem };
    let (name, value) = header.split_once(':').ok_or_else(|| bad("write 'Name: value'"))?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(bad("its name may hold letters, digits and dashes"));
    }
    if OWN_FIELDS.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(bad("this program sets it itself"));
    }
    if value.chars().any(char::is_control) {
        return Err(bad("its value holds control characters"));
    }
    Ok((name, value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(url: &str) -> Asked {
        Asked { url: url.to_owned(), method: "GET".to_owned(), headers: Vec::new(), body: None }
    }

    #[test]
    fn renders_the_request() {
        let mut asked = asked("http://127.0.0.1:81/a/b?c=d#e");
        asked.headers = vec!["accept: text/html".to_owned(), "X-Y:z".to_owned()];
        let target = Target::find(&asked).unwrap();
        assert_eq!(target.address, "127.0.0.1:81".parse().unwrap());
        let agent = concat!("User-Agent: ballast-injector/", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            String::from_utf8(target.request).unwrap(),
            format!(
                "GET /a/b?c=d HTTP/1.1\r\naccept: text/html\r\nX-Y: z\r\nHost: 127.0.0.1:81\r\n{agent}\r\n\r\n"
            )
        );
    }

    #[test]
    fn a_body_has_its_length() {
        let mut asked = asked("http://[::1]");
        (asked.method, asked.body) = ("POST".to_owned(), Some("grüß".to_owned()));
        let target = Target::find(&asked).unwrap();
        assert_eq!(target.address, "[::1]:80".parse().unwrap());
        let request = String::from_utf8(target.request).unwrap();
        assert!(request.contains("Host: [::1]\r\n"), "{request}");
        assert!(request.ends_with("Content-Length: 6\r\n\r\ngrüß"), "{request}");
    }

    #[test]
    fn other_protocols_and_broken_urls_are_refused() {
        for (url, told) in [
            ("https://localhost/", "https is not supported"),
            ("ftp://localhost/", "only http is"),
            ("localhost:80/", "only http is"),
            ("/path", "write http://HOST:PORT/PATH"),
            ("http://", "write http://"),
            ("http://a:99999/", "write http://"),
            ("http://me:secret@localhost/", "--header"),
        ] {
            let error = Target::find(&asked(url)).unwrap_err().to_string();
            assert!(error.contains(told), "{url}: {error}");
        }
    }

    #[test]
    fn headers_cannot_break_the_request() {
        for bad in
            ["none", ": x", "a b: c", "A: x\r\nB: y", "A: \0", "Content-Length: 5", "connection: close"]
        {
            let mut asked = asked("http://127.0.0.1/");
            asked.headers.push(bad.to_owned());
            assert!(matches!(Target::find(&asked), Err(LoadError::Header { .. })), "{bad:?}");
        }
    }
}
