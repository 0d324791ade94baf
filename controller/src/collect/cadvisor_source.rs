//! cAdvisor (or a kubelet) asked over HTTP.
//!
//! Must not know what is done with the samples.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use ballast_api::{Clock, NodeName, with_causes};
use reqwest::{StatusCode, Url, redirect::Policy};
use tracing::warn;

use super::{
    cadvisor::{MAX_PAGE_BYTES, Page, PageTooLong, read_page},
    naming::Naming,
    outage::Outage,
    source::{Observed, Source, SourceError},
};

/// How long cAdvisor may take: it reads hundreds of files for an answer, but a later one is of no use.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The containers of one node, as its cAdvisor counts.
pub struct CadvisorSource {
    url: Url,
    node: NodeName,
    naming: Naming,
    clock: Arc<dyn Clock>,
    http: reqwest::Client,
    unusable: Outage,
}

impl CadvisorSource {
    /// The cAdvisor at `url` such as `http://127.0.0.1:8080`, which stands for `/metrics` there; another path (a
    /// kubelet's `/metrics/cadvisor`) is taken as it is. Nothing is sent yet.
    ///
    /// # Errors
    /// [`SourceError::Url`] when the text is no `http` URL.
    pub fn new(
        url: &str,
        node: NodeName,
        naming: Naming,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SourceError> {
        let invalid = |detail: String| SourceError::Url { url: url.to_owned(), detail };
        let mut parsed = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
        if parsed.scheme() != "http" || parsed.host().is_none() {
            return Err(invalid("it must look like http://127.0.0.1:8080".to_owned()));
        }
        if parsed.path() == "/" {
            parsed.set_path("/metrics");
        }
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .redirect(Policy::none())
            .build()
            .map_err(|error| invalid(with_causes(&error)))?;
        Ok(Self { url: parsed, node, naming, clock, http, unusable: Outage::default() })
    }

    async fn fetch(&self) -> Result<String, SourceError> {
        let unreachable = |error: reqwest::Error| SourceError::Unreachable {
            url: self.url.to_string(),
            detail: with_causes(&error.without_url()),
        };
        let mut response = self.http.get(self.url.clone()).send().await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(self.odd(format!("status {}", response.status())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            let bytes = body.len() + chunk.len();
            if bytes > MAX_PAGE_BYTES {
                return Err(self.too_long(PageTooLong { bytes }));
            }
            body.extend_from_slice(&chunk);
        }
        String::from_utf8(body).map_err(|error| self.odd(error.to_string()))
    }

    /// Lines that say nothing are worth one word in the log, not one a second.
    fn tell_unusable(&mut self, page: &Page) {
        let Page { malformed_lines, refused_names, .. } = page;
        if *malformed_lines + *refused_names == 0 {
            self.unusable.succeeded();
        } else if self.unusable.failed() {
            warn!(url = %self.url, malformed_lines, refused_names, "a part of cAdvisor's page cannot be used");
        }
    }

    fn odd(&self, detail: String) -> SourceError {
        SourceError::NotCadvisor { url: self.url.to_string(), detail }
    }

    fn too_long(&self, cause: PageTooLong) -> SourceError {
        SourceError::TooLong { url: self.url.to_string(), cause }
    }
}

#[async_trait]
impl Source for CadvisorSource {
    fn describe(&self) -> String {
        format!("cAdvisor at {}", self.url)
    }

    async fn poll(&mut self) -> Result<Observed, SourceError> {
        let text = self.fetch().await?;
        let page =
            read_page(&text, &self.node, &self.naming, self.clock.now()).map_err(|e| self.too_long(e))?;
        if page.cgroup_lines == 0 {
            return Err(self.odd("no line of its page is about a container".to_owned()));
        }
        self.tell_unusable(&page);
        Ok(Observed::Counters(page.samples))
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use ballast_api::{HttpNode, SystemClock};

    use super::{
        super::{node_source::NodeSource, source::choose_source},
        *,
    };

    fn source(url: &str) -> Result<CadvisorSource, SourceError> {
        CadvisorSource::new(url, "n1".parse().unwrap(), Naming::children_of(["/shop"]), Arc::new(SystemClock))
    }

    /// Serves `body` as `/metrics` on a free port; ends with the test's runtime.
    async fn serve(body: impl Into<bytes_of::Body>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let body = body.into().0;
        let router = Router::new().route("/metrics", get(move || async move { body }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    mod bytes_of {
        pub(super) struct Body(pub(super) Vec<u8>);
        impl<T: AsRef<[u8]>> From<T> for Body {
            fn from(bytes: T) -> Self {
                Self(bytes.as_ref().to_vec())
            }
        }
    }

    #[tokio::test]
    async fn the_page_becomes_samples() {
        let url = serve("container_cpu_usage_seconds_total{cpu=\"total\",id=\"/shop/geo\"} 2 5\n").await;
        let Observed::Counters(samples) = source(&url).unwrap().poll().await.unwrap() else {
            panic!("no counters")
        };
        assert_eq!((samples.len(), samples[0].cpu_usage_seconds), (1, Some(2.0)));
    }

    #[tokio::test]
    async fn who_is_no_cadvisor_is_told_apart() {
        for body in ["hello", "", "up 1\n"] {
            let error = source(&serve(body).await).unwrap().poll().await.unwrap_err();
            assert!(matches!(error, SourceError::NotCadvisor { .. }), "{error}");
        }
        let error = source(&serve([0xff_u8, 0xfe]).await).unwrap().poll().await.unwrap_err();
        assert!(matches!(error, SourceError::NotCadvisor { .. }), "{error}");
        let elsewhere = format!("{}/nothing", serve("x").await);
        let error = source(&elsewhere).unwrap().poll().await.unwrap_err().to_string();
        assert!(error.contains("404"), "{error}");
    }

    #[tokio::test]
    async fn an_answer_without_bound_is_cut_off() {
        let url = serve(vec![b'\n'; MAX_PAGE_BYTES + 1]).await;
        let error = source(&url).unwrap().poll().await.unwrap_err();
        assert!(matches!(error, SourceError::TooLong { .. }), "{error}");
    }

    #[tokio::test]
    async fn without_cadvisor_the_node_itself_is_asked() {
        let node = || {
            let agent = HttpNode::new("http://127.0.0.1:1").unwrap();
            NodeSource::new(Arc::new(agent), "n1".parse().unwrap())
        };
        let there = serve("container_tasks_state{id=\"/\",state=\"running\"} 0 5\n").await;
        assert!(choose_source(Some(source(&there).unwrap()), node()).await.describe().contains("cAdvisor"));
        let other_program = serve("hello").await;
        assert_eq!(
            choose_source(Some(source(&other_program).unwrap()), node()).await.describe(),
            node().describe()
        );
        assert_eq!(choose_source(None, node()).await.describe(), "env-server of n1");
    }

    #[tokio::test]
    async fn nobody_there_is_named_with_the_reason() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = source(&url).unwrap().poll().await.unwrap_err().to_string();
        assert!(error.contains(&url) && error.contains("refused"), "{error}");
    }

    #[test]
    fn refuses_what_is_no_address() {
        for bad in ["", "localhost:8080", "https://x", "http://", "file:///etc"] {
            assert!(matches!(source(bad), Err(SourceError::Url { .. })), "{bad}");
        }
        assert_eq!(source("http://h:1/metrics/cadvisor").unwrap().url.path(), "/metrics/cadvisor");
    }
}
