//! What became of the requests of a source of traffic.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How many requests a source of traffic had answered, and how many not.
pub(crate) async fn answered(at: &str) -> (u64, u64) {
    let mut stream = TcpStream::connect((at, 9000)).await.unwrap();
    let request = "GET /stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let number = |key: &str| {
        let (_, rest) = text.split_once(&format!("\"{key}\":")).expect(&text);
        let end = rest.find(|it: char| !it.is_ascii_digit()).unwrap();
        rest[..end].parse().unwrap()
    };
    (number("ok"), number("failed"))
}
