//! One page over HTTP, within a time and a size.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use formats::scrape::Format;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A page, or as much of it as is taken.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
    /// Bytes that were there beyond what is taken, as far as they were seen; 0 for a whole page.
    pub(super) bytes_left: u64,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// Nothing answers at the port.
    #[error(
        "cannot connect to {address}; check that the application listens on that port, on more than loopback"
    )]
    Connect {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    /// What answers speaks otherwise.
    #[error("{address} does not answer as an HTTP server")]
    Http {
        address: SocketAddr,
        #[source]
        source: hyper::Error,
    },
    /// The path cannot be asked for.
    #[error("{path:?} is no path; correct the label io.homeostat.scrape")]
    Path {
        path: String,
        #[source]
        source: hyper::http::Error,
    },
    /// It answered with something else than a page.
    #[error(
        "{address} answered with status {status}; check the path in the label io.homeostat.scrape"
    )]
    Status {
        address: SocketAddr,
        status: StatusCode,
    },
    /// It took too long.
    #[error(
        "{address} did not give its page within {timeout:?}; make the page smaller or raise collector.scrape.timeout"
    )]
    Late {
        address: SocketAddr,
        timeout: Duration,
    },
}

/// Gets a page; no redirects are followed.
///
/// # Errors
/// When it is not there in time.
pub(super) async fn get(
    address: SocketAddr,
    path: &str,
    bytes_max: usize,
    timeout: Duration,
) -> Result<Page, FetchError> {
    match tokio::time::timeout(timeout, exchange(address, path, bytes_max)).await {
        Ok(page) => page,
        Err(_) => Err(FetchError::Late { address, timeout }),
    }
}

async fn exchange(address: SocketAddr, path: &str, bytes_max: usize) -> Result<Page, FetchError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|source| FetchError::Connect { address, source })?;
    let http = |source| FetchError::Http { address, source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let request = Request::get(path)
        .header(HOST, address.to_string())
        .header(ACCEPT, Format::ACCEPT)
        .header(USER_AGENT, concat!("homeostat/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|source| FetchError::Path {
            path: path.to_owned(),
            source,
        })?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(http)?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(FetchError::Status { address, status });
        }
        let content_type = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let mut page = Page {
            content_type,
            body: Vec::new(),
            bytes_left: 0,
        };
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(http)?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            let room = bytes_max - page.body.len();
            page.body.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                // The rest is not even received.
                page.bytes_left = (data.len() - room) as u64;
                break;
            }
        }
        Ok(page)
    };
    // The connection does its work only while it is polled. How it ends, the answer tells: its error is the same.
    let connection = async {
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        page = answer => page,
        never = connection => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const TIMEOUT: Duration = Duration::from_secs(30);

    async fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let len = stream.read(&mut request).await.unwrap();
            assert!(request[..len].starts_with(b"GET /metrics?a=b HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    async fn page(answer: &'static str, bytes_max: usize) -> Result<Page, FetchError> {
        get(server(answer).await, "/metrics?a=b", bytes_max, TIMEOUT).await
    }

    #[tokio::test]
    async fn a_page_is_read_up_to_the_bound() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nup 1";
        let whole = page(answer, 4).await.unwrap();
        assert_eq!(
            (whole.body.as_slice(), whole.bytes_left),
            (b"up 1".as_slice(), 0)
        );
        assert_eq!(whole.content_type, "text/plain");
        let cut = page(answer, 2).await.unwrap();
        assert_eq!((cut.body.len(), cut.bytes_left), (2, 2));
        let until_close = page("HTTP/1.1 200 OK\r\n\r\nup 1", 9).await.unwrap();
        assert_eq!(until_close.body, b"up 1");
    }

    #[tokio::test]
    async fn what_is_no_page_is_named() {
        let error = page("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 9)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("status 404"), "{error}");
        let error = page("SSH-2.0-x\r\n", 9).await.unwrap_err();
        assert!(error.to_string().contains("as an HTTP server"), "{error}");
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        let error = get(address, "/", 9, TIMEOUT).await.unwrap_err();
        assert!(error.to_string().contains("cannot connect"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_hangs_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let error = get(address, "/", 9, Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(matches!(error, FetchError::Late { .. }), "{error}");
    }
}
