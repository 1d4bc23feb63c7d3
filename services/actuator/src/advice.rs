//! What to do about what engines and registries say. They name what went wrong and leave the next step to people who know them; it is
//! told beside their own words, for the troubles that come up in practice.

/// Words that an engine, or a registry through it, uses of one trouble, and the next step. The first that fits counts.
const STEPS: [(&[&str], &str); 9] = [
    (
        &["no space left on device", "disk quota exceeded"],
        "the disk of this node's engine is full: `docker system df` there tells what takes it, `docker system prune` frees some",
    ),
    (
        &[
            "port is already allocated",
            "address already in use",
            "all ports are allocated",
        ],
        "another container or program of this node has the port: end that one, or publish another port",
    ),
    (
        &["exec format error"],
        "its program is not for this node's processor: build the image for that too",
    ),
    (
        &[
            "no matching manifest for",
            "does not match the specified platform",
            "image operating system",
        ],
        "build the image for this node's system and processor too",
    ),
    (
        &["unauthorized", "access denied", "no basic auth credentials"],
        "let this node have credentials for the registry (actuator.registry_auth_file), where the name is right",
    ),
    (
        &["manifest unknown", "manifest for ", "name unknown"],
        "the registry has no image of that name: push it there",
    ),
    (
        &["toomanyrequests", "too many requests"],
        "the registry gives this node no more for now: try again later, or let it have credentials (actuator.registry_auth_file)",
    ),
    (
        &[
            "unexpected http status: 5",
            "internal server error",
            "service unavailable",
            "bad gateway",
            "unexpected eof",
            "download failed after",
            "filesystem layer verification failed",
        ],
        "the registry does not give the image in full: look at its log and whether its disk is full, then push the image again",
    ),
    (
        &[
            "connection refused",
            "no route to host",
            "network is unreachable",
            "client.timeout exceeded",
            "i/o timeout",
            "tls handshake timeout",
            "context deadline exceeded",
            "connection reset",
            "no such host",
            "server misbehaving",
        ],
        "the registry does not answer this node: check that it runs there, and that this node reaches it",
    ),
];

/// The next step about what was said, if it is a trouble that is known.
pub(crate) fn next_step(said: &str) -> Option<&'static str> {
    let said = said.to_lowercase();
    let known = STEPS
        .iter()
        .find(|(words, _)| words.iter().any(|it| said.contains(it)));
    known.map(|(_, step)| *step)
}

/// What was said, with the next step where one is known.
pub(crate) fn with_next_step(said: &str) -> String {
    match next_step(said) {
        Some(step) => format!("{said}; {step}"),
        None => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Docker Engine 20.10 says it.
    const SAID: [(&str, &str); 14] = [
        (
            "write /var/lib/docker/tmp/GetImageBlob854804259: no space left on device",
            "docker system prune",
        ),
        (
            "driver failed programming external connectivity on endpoint web (8c96): Error starting userland proxy: listen tcp4 0.0.0.0:80: bind: address already in use",
            "publish another port",
        ),
        (
            "driver failed programming external connectivity on endpoint web (4f18): Bind for 0.0.0.0:80 failed: port is already allocated",
            "publish another port",
        ),
        (
            "driver failed programming external connectivity on endpoint web (0029): all ports are allocated",
            "publish another port",
        ),
        (
            "OCI runtime create failed: exec /web: exec format error: unknown",
            "this node's processor",
        ),
        (
            "no matching manifest for linux/arm64/v8 in the manifest list entries",
            "system and processor",
        ),
        (
            "pull access denied for shop/web, repository does not exist or may require 'docker login'",
            "actuator.registry_auth_file",
        ),
        (
            "manifest for r:5000/web:9 not found: manifest unknown: manifest unknown",
            "push it there",
        ),
        (
            "toomanyrequests: You have reached your pull rate limit.",
            "try again later",
        ),
        (
            "error pulling image configuration: download failed after attempts=6: received unexpected HTTP status: 500 Internal Server Error",
            "disk is full",
        ),
        (
            "error pulling image configuration: download failed after attempts=6: unexpected EOF",
            "push the image again",
        ),
        (
            "Get \"https://r:5000/v2/\": dial tcp 10.0.0.9:5000: connect: connection refused",
            "check that it runs",
        ),
        (
            "Get \"http://r:5000/v2/\": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
            "this node reaches it",
        ),
        (
            "Get \"https://r/v2/\": dial tcp: lookup r on 127.0.0.11:53: no such host",
            "this node reaches it",
        ),
    ];

    #[test]
    fn what_engines_say_comes_with_the_next_step() {
        for (said, step) in SAID {
            let told = with_next_step(said);
            assert!(told.starts_with(said) && told.contains(step), "{told}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_as_it_was_said() {
        let said = "No such container: web";
        assert_eq!(with_next_step(said), said);
    }
}
