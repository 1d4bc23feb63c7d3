//! Credentials for registries, from a file as `docker login` writes it (`config.json` of the Docker command line: `auths`, each with
//! the user's name and password in base64). Read at each pull, so that what was changed counts; never printed.
//!
//! Credential helpers are programs to be run, which the actuator does not do: it names what to write instead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;

/// A file of credentials is smaller; a larger one is refused unread.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The registry of references that name none, and the words the Docker command line has for it.
const HUB: &str = "docker.io";
const HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// Why there are no credentials to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthError {
    #[error("cannot read {}, named by actuator.registry_auth_file: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    /// What is wrong is not quoted: it may be a password.
    #[error("{} is no config.json of Docker: line {line}, column {column}", path.display())]
    Malformed {
        path: PathBuf,
        line: usize,
        column: usize,
    },
    #[error(
        "{} leaves the credentials for {registry} to the program docker-credential-{helper}, which is not run here; write them into auths of a file of their own, as `docker --config DIR login` does without helpers",
        path.display()
    )]
    Helper {
        path: PathBuf,
        registry: String,
        helper: String,
    },
    #[error("what {} has for {registry} is no NAME:PASSWORD in base64; log in again", path.display())]
    NoPair { path: PathBuf, registry: String },
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Login>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

// Without `Debug`, so that it cannot be printed.
#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
}

/// The credentials for the registry of a reference; none when the file has none for it, and everybody may pull.
///
/// # Errors
/// When the file cannot be used, or leaves it to a program.
pub(crate) fn credentials(
    path: &Path,
    reference: &str,
) -> Result<Option<DockerCredentials>, AuthError> {
    choose(path, &read(path)?, registry_of(reference))
}

fn read(path: &Path) -> Result<Vec<u8>, AuthError> {
    let unreadable = |reason: String| AuthError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let told = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if !told.is_file() || told.len() > FILE_BYTES_MAX {
        return Err(unreadable(format!(
            "it is no file of at most {FILE_BYTES_MAX} bytes"
        )));
    }
    std::fs::read(path).map_err(|error| unreadable(error.to_string()))
}

fn choose(
    path: &Path,
    text: &[u8],
    registry: &str,
) -> Result<Option<DockerCredentials>, AuthError> {
    let file: File = serde_json::from_slice(text).map_err(|error| AuthError::Malformed {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
    })?;
    let is_it = |key: &str| host_of(key) == registry;
    if let Some((_, helper)) = file.helpers.iter().find(|(key, _)| is_it(key)) {
        return Err(left_to(path, registry, helper));
    }
    let Some((server, login)) = file.auths.iter().find(|(key, _)| is_it(key)) else {
        // A store may have some, and lists none here.
        return match &file.store {
            Some(store) => Err(left_to(path, registry, store)),
            None => Ok(None),
        };
    };
    let mut credentials = DockerCredentials {
        serveraddress: Some(server.clone()),
        ..DockerCredentials::default()
    };
    match (&login.auth, &login.identitytoken, &file.store) {
        (_, Some(token), _) if !token.is_empty() => credentials.identitytoken = Some(token.clone()),
        (Some(auth), _, _) if !auth.is_empty() => {
            let (name, password) = pair(auth).ok_or_else(|| AuthError::NoPair {
                path: path.to_owned(),
                registry: registry.to_owned(),
            })?;
            credentials.username = Some(name);
            credentials.password = Some(password);
        }
        (_, _, Some(store)) => return Err(left_to(path, registry, store)),
        (_, _, None) => return Ok(None),
    }
    Ok(Some(credentials))
}

fn left_to(path: &Path, registry: &str, helper: &str) -> AuthError {
    AuthError::Helper {
        path: path.to_owned(),
        registry: registry.to_owned(),
        helper: helper.to_owned(),
    }
}

fn pair(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

/// The registry's host: the first part of a reference, where that can be one.
fn registry_of(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => host_of(first),
        Some(_) | None => HUB,
    }
}

/// Keys are hosts, or addresses with a scheme and a path, as older versions wrote them.
fn host_of(key: &str) -> &str {
    let after = key.split_once("://").map_or(key, |(_, after)| after);
    let host = after.split('/').next().unwrap_or(after);
    match HUB_ALIASES.contains(&host) {
        true => HUB,
        false => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str, reference: &str) -> Result<Option<DockerCredentials>, AuthError> {
        let path = Path::new("/etc/config.json");
        choose(path, text.as_bytes(), registry_of(reference))
    }

    #[test]
    fn credentials_are_those_of_the_references_registry() {
        // ada:secret:1 and bob:x
        let file = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "YWRhOnNlY3JldDox"},
            "registry.example:5000": {"auth": "Ym9iOng="},
            "token.example": {"identitytoken": "t"}
        }}"#;
        for reference in ["web", "shop/web:1", "docker.io/shop/web"] {
            let found = chosen(file, reference).unwrap().unwrap();
            assert_eq!(found.username.as_deref(), Some("ada"), "{reference}");
            assert_eq!(found.password.as_deref(), Some("secret:1"));
        }
        let found = chosen(file, "registry.example:5000/web:1")
            .unwrap()
            .unwrap();
        assert_eq!(found.username.as_deref(), Some("bob"));
        let found = chosen(file, "token.example/web@sha256:ab")
            .unwrap()
            .unwrap();
        assert_eq!(found.identitytoken.as_deref(), Some("t"));
        assert!(chosen(file, "other.example/web").unwrap().is_none());
        assert!(chosen("{}", "localhost/web").unwrap().is_none());
    }

    #[test]
    fn helpers_are_named_and_passwords_are_not() {
        let helper = r#"{"credHelpers": {"r.example": "pass"}, "auths": {"r.example": {}}}"#;
        let error = chosen(helper, "r.example/web").err().unwrap().to_string();
        assert!(error.contains("docker-credential-pass"), "{error}");
        for store in [
            r#"{"credsStore": "desktop"}"#,
            r#"{"credsStore": "desktop", "auths": {"r.example": {}}}"#,
        ] {
            let error = chosen(store, "r.example/web").err().unwrap().to_string();
            assert!(error.contains("docker-credential-desktop"), "{error}");
        }
        for secret in [
            r#"{"auths": {"r.example": {"auth": "c2VjcmV0"}}}"#,
            r#"{"auths": {"r.example": "c2VjcmV0"}}"#,
            r#"{"auths": "secret"}"#,
        ] {
            let error = chosen(secret, "r.example/web").err().unwrap().to_string();
            let told = error.contains("secret") || error.contains("c2VjcmV0");
            assert!(!told, "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named_with_its_setting() {
        let error = credentials(Path::new("/nowhere/config.json"), "web").err();
        let error = error.unwrap().to_string();
        assert!(error.contains("/nowhere/config.json"), "{error}");
        assert!(error.contains("actuator.registry_auth_file"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn any_file_and_reference_are_taken_without_panic(text in ".{0,200}", reference in ".{0,80}") {
            let _ = chosen(&text, &reference);
        }
    }
}
