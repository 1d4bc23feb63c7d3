//! Reading along what a client sends on one HTTP/1.1 connection: requests one after the other, their bodies skipped by
//! length or by chunk, and raw bytes once the engine has agreed to an upgrade. No input or output of its own.

use super::Request;

/// A head longer than this is not a request of Docker's API.
const HEAD_MAX_BYTES: usize = 64 * 1024;
/// The method written down for bytes that are no request. It counts as writing.
pub const UNREADABLE: &str = "UNREADABLE";

/// What is expected next from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expect {
    /// A request's head; goes to a body, or to `Verdict`, at its empty line.
    Head,
    /// So many bytes of a body; then to `Head`.
    Body(u64),
    /// The line with the size of a chunk; to `Chunk`, or to `Trailer` after the last.
    ChunkSize,
    /// So many bytes of a chunk with its line end; then to `ChunkSize`.
    Chunk(u64),
    /// Lines after the last chunk; to `Head` at the empty one.
    Trailer,
    /// The request asked for an upgrade: the engine's answer decides between `Raw` and `Head`.
    Verdict,
    /// Bytes that are no HTTP any more; for good.
    Raw,
}

/// One connection.
#[derive(Debug)]
pub struct Observer {
    expect: Expect,
    /// Bytes of the client that are not understood yet.
    pending: Vec<u8>,
    /// The engine's answer to an upgrade, until its first line is complete.
    answer: Vec<u8>,
}

impl Default for Observer {
    fn default() -> Self {
        Observer {
            expect: Expect::Head,
            pending: Vec::new(),
            answer: Vec::new(),
        }
    }
}

impl Observer {
    /// The client sent these bytes: the requests whose heads they complete.
    pub fn sent(&mut self, bytes: &[u8]) -> Vec<Request> {
        if self.expect == Expect::Raw {
            return Vec::new();
        }
        self.pending.extend_from_slice(bytes);
        self.advance()
    }

    /// The engine sent these bytes: the requests that waited for its verdict on an upgrade.
    pub fn answered(&mut self, bytes: &[u8]) -> Vec<Request> {
        if self.expect != Expect::Verdict {
            return Vec::new();
        }
        self.answer.extend_from_slice(bytes);
        let Some(end) = find(&self.answer, b"\r\n") else {
            return Vec::new();
        };
        let line = String::from_utf8_lossy(&self.answer[..end]).into_owned();
        self.answer.clear();
        let status = line.split(' ').nth(1);
        // Engines before HTTP upgrades were usual say 200 and go on raw as well.
        self.expect = match status {
            Some("101" | "200") => Expect::Raw,
            Some(_) | None => Expect::Head,
        };
        self.advance()
    }

    fn advance(&mut self) -> Vec<Request> {
        let mut found = Vec::new();
        while let Some(next) = self.step(&mut found) {
            self.expect = next;
        }
        found
    }

    /// One step, or none when more bytes are needed.
    fn step(&mut self, found: &mut Vec<Request>) -> Option<Expect> {
        match self.expect.clone() {
            Expect::Head => self.head(found),
            Expect::Body(0) => Some(Expect::Head),
            Expect::Body(left) => Some(Expect::Body(left - self.skip(left)?)),
            Expect::ChunkSize => {
                let line = self.line()?;
                let size = line.split(';').next().unwrap_or_default().trim();
                match u64::from_str_radix(size, 16) {
                    Ok(0) => Some(Expect::Trailer),
                    Ok(size) => Some(Expect::Chunk(size + 2)),
                    Err(_) => Some(give_up(&line, found)),
                }
            }
            Expect::Chunk(0) => Some(Expect::ChunkSize),
            Expect::Chunk(left) => Some(Expect::Chunk(left - self.skip(left)?)),
            Expect::Trailer => match self.line()?.is_empty() {
                true => Some(Expect::Head),
                false => Some(Expect::Trailer),
            },
            Expect::Verdict => None,
            Expect::Raw => {
                self.pending.clear();
                None
            }
        }
    }

    fn head(&mut self, found: &mut Vec<Request>) -> Option<Expect> {
        let Some(end) = find(&self.pending, b"\r\n\r\n") else {
            let too_long = self.pending.len() > HEAD_MAX_BYTES;
            return too_long.then(|| give_up("a head without end", found));
        };
        let head = String::from_utf8_lossy(&self.pending[..end]).into_owned();
        self.pending.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let Some(request) = request(first) else {
            return Some(give_up(first, found));
        };
        found.push(request);
        let mut next = Expect::Head;
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                return Some(give_up(line, found));
            };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "upgrade" => return Some(Expect::Verdict),
                "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => {
                    next = Expect::ChunkSize;
                }
                "content-length" => match value.parse() {
                    Ok(length) => next = Expect::Body(length),
                    Err(_) => return Some(give_up(line, found)),
                },
                _ => {}
            }
        }
        Some(next)
    }

    /// Drops up to so many pending bytes; says how many, or nothing when there are none.
    fn skip(&mut self, at_most: u64) -> Option<u64> {
        let there = self.pending.len();
        let skipped = usize::try_from(at_most).map_or(there, |most| most.min(there));
        self.pending.drain(..skipped);
        (skipped > 0).then_some(skipped as u64)
    }

    fn line(&mut self) -> Option<String> {
        let end = find(&self.pending, b"\r\n")?;
        let line = String::from_utf8_lossy(&self.pending[..end]).into_owned();
        self.pending.drain(..end + 2);
        Some(line)
    }
}

fn request(line: &str) -> Option<Request> {
    let mut words = line.split(' ');
    let (method, path, version) = (words.next()?, words.next()?, words.next()?);
    let sound = method.bytes().all(|it| it.is_ascii_uppercase())
        && !method.is_empty()
        && path.starts_with('/')
        && version.starts_with("HTTP/1.")
        && words.next().is_none();
    sound.then(|| Request {
        method: method.to_owned(),
        path: path.to_owned(),
    })
}

/// What follows cannot be told apart any more, so it is written down as something that may write.
fn give_up(what: &str, found: &mut Vec<Request>) -> Expect {
    found.push(Request {
        method: UNREADABLE.to_owned(),
        path: what.chars().take(100).collect(),
    });
    Expect::Raw
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(requests: &[Request]) -> Vec<String> {
        requests.iter().map(ToString::to_string).collect()
    }

    const SEVERAL: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n\
        POST /b?q=1 HTTP/1.1\r\nContent-Length: 22\r\n\r\nDELETE /x HTTP/1.1\r\n\r\n\
        POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
        18\r\nPUT /fake HTTP/1.1\r\n\r\nab\r\n3;ext=1\r\nabc\r\n0\r\nTrailer: x\r\n\r\n\
        HEAD /_ping HTTP/1.1\r\n\r\n";

    #[test]
    fn requests_on_one_connection_are_told_apart_however_they_are_cut() {
        let expected = ["GET /a", "POST /b?q=1", "POST /c", "HEAD /_ping"];
        for cut in 0..=SEVERAL.len() {
            let (before, after) = SEVERAL.as_bytes().split_at(cut);
            let mut observer = Observer::default();
            let mut found = observer.sent(before);
            found.extend(observer.sent(after));
            assert_eq!(texts(&found), expected, "cut at {cut}");
        }
        let mut observer = Observer::default();
        let bytes = SEVERAL.bytes();
        let found: Vec<_> = bytes.flat_map(|byte| observer.sent(&[byte])).collect();
        assert_eq!(texts(&found), expected);
    }

    const UPGRADE: &[u8] = b"POST /exec/1/start HTTP/1.1\r\nUpgrade: tcp\r\n\r\n";

    #[test]
    fn an_upgrade_is_raw_from_the_engines_yes_on() {
        let mut observer = Observer::default();
        assert_eq!(texts(&observer.sent(UPGRADE)), ["POST /exec/1/start"]);
        assert!(observer.answered(b"HTTP/1.1 10").is_empty());
        assert!(observer.answered(b"1 UPGRADED\r\n\r\nDELETE").is_empty());
        assert!(
            observer
                .sent(b"DELETE /not-a-request HTTP/1.1\r\n\r\n")
                .is_empty()
        );
    }

    #[test]
    fn after_the_engines_no_requests_go_on() {
        let mut observer = Observer::default();
        observer.sent(UPGRADE);
        assert!(
            observer.sent(b"DELETE /b HTTP/1.1\r\n\r\n").is_empty(),
            "not decided yet"
        );
        let found = observer.answered(b"HTTP/1.1 404 Not Found\r\n\r\n");
        assert_eq!(texts(&found), ["DELETE /b"]);
    }

    #[test]
    fn what_cannot_be_read_counts_as_writing() {
        for bytes in [
            &b"\x16\x03\x01\x02\r\n\r\n"[..],
            b"get /a HTTP/1.1\r\n\r\n",
            b"GET /a HTTP/1.1\r\nContent-Length: many\r\n\r\n",
            b"GET /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            &[b'A'; HEAD_MAX_BYTES + 1],
        ] {
            let found = Observer::default().sent(bytes);
            let last = found.last().unwrap();
            assert_eq!(last.method, UNREADABLE);
            assert!(last.is_writing());
        }
    }

    #[test]
    fn operations_are_paths_without_version_and_query() {
        let operation = |path: &str| {
            let path = path.to_owned();
            Request {
                method: "GET".to_owned(),
                path,
            }
            .operation()
            .to_owned()
        };
        assert_eq!(
            operation("/v1.41/containers/json?all=true"),
            "/containers/json"
        );
        assert_eq!(operation("/volumes"), "/volumes");
        assert_eq!(operation("/version"), "/version");
        assert_eq!(operation("/v1.41/"), "/");
    }
}
