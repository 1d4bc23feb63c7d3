//! Every script under `control/`, played and compared.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

#[test]
fn every_script_leads_to_what_is_kept() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("control");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "script")
        })
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "no script under {}", dir.display());
    let mut differing = Vec::new();
    for script in scripts {
        let said = golden::play(&std::fs::read_to_string(&script).unwrap());
        let expected = script.with_extension("expected");
        if std::env::var_os("HOMEOSTAT_BLESS").is_some() {
            std::fs::write(&expected, &said).unwrap();
        }
        let kept = std::fs::read_to_string(&expected).unwrap_or_default();
        if kept != said {
            differing.push(format!(
                "{}\nkept:\n{kept}\nsaid:\n{said}",
                script.display()
            ));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
