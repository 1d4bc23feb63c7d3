//! Every kind of configuration error, with its exact text, and what a good configuration shows.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use kit::config::{
    HumanDuration, Invalid, Loaded, Problems, Secret, Sources, Validate, load, under,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    telemetry: kit::telemetry::Config,
    control: Control,
    notifier: Notifier,
    bus: bus::BusConfig,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Control {
    max_mode: Mode,
    tick: HumanDuration,
    budget_per_hour: u16,
    target: Option<f64>,
    services: Vec<String>,
    listen: SocketAddr,
    enabled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Observe,
    Suggest,
    Act,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Notifier {
    token: Option<Secret>,
    sinks: Vec<Sink>,
    named: BTreeMap<String, Webhook>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Sink {
    Slack { url: Secret, channel: String },
    Pagerduty { routing_key: Secret },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Webhook {
    url: String,
    #[serde(default)]
    retries: u8,
}

impl Default for Control {
    fn default() -> Self {
        Control {
            max_mode: Mode::Observe,
            tick: HumanDuration::from_secs(10),
            budget_per_hour: 6,
            target: None,
            services: Vec::new(),
            listen: ([127, 0, 0, 1], 80).into(),
            enabled: false,
        }
    }
}

impl Validate for Control {
    fn problems(&self) -> Vec<Invalid> {
        let mut problems = Vec::new();
        if self.budget_per_hour > 60 {
            problems.push(
                Invalid::new("budget_per_hour", "more than one action a minute")
                    .suggest("use 60 or less"),
            );
        }
        if self.max_mode == Mode::Act && self.services.is_empty() {
            problems.push(Invalid::new(
                "services",
                "acting needs at least one service",
            ));
        }
        problems
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<Invalid> {
        let mut problems = under("telemetry", &self.telemetry);
        problems.extend(under("control", &self.control));
        problems.extend(under("bus", &self.bus));
        problems
    }
}

struct Case {
    dir: tempfile::TempDir,
    sources: Sources,
}

impl Case {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("homeostat.toml");
        std::fs::write(&file, text).unwrap();
        let sources = Sources {
            file: Some(file),
            ..Sources::default()
        };
        Case { dir, sources }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.sources.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.sources.flags.push((key.to_owned(), value.to_owned()));
        self
    }

    fn load(&self) -> Result<Loaded<Config>, Problems> {
        load(&self.sources)
    }

    fn loads(&self) -> Loaded<Config> {
        self.load().unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The problems as printed, with the file's folder left out.
    fn fails(&self) -> String {
        let problems = self.load().unwrap_err().to_string();
        problems.replace(&format!("{}/", self.dir.path().display()), "")
    }
}

#[test]
fn nothing_configured_is_the_default() {
    let loaded: Loaded<Config> = load(&Sources::default()).unwrap();
    assert_eq!(loaded.value, Config::default());
    assert!(
        loaded
            .show()
            .iter()
            .all(|it| it.origin.to_string() == "default")
    );
}

#[test]
fn an_unknown_key_names_the_nearest_one() {
    let case = Case::new("[telemetry]\nlgo = \"debug\"\n\n[controll]\ntick = \"5s\"\n");
    assert_eq!(
        case.fails(),
        "homeostat.toml:2:1: telemetry.lgo: unknown key\n  help: did you mean `telemetry.log`?\n\
         homeostat.toml:4:2: controll: unknown key\n  help: did you mean `control`?"
    );
}

#[test]
fn an_unknown_key_like_no_other_lists_what_there_is() {
    let case = Case::new("[telemetry]\nxyz = 1\n");
    assert_eq!(
        case.fails(),
        "homeostat.toml:2:1: telemetry.xyz: unknown key\n  help: use one of `telemetry.log`, \
         `telemetry.format`, `telemetry.otlp_endpoint`, `telemetry.sample_ratio`"
    );
}

#[test]
fn every_wrong_type_is_told_at_its_value() {
    let case = Case::new(
        "[control]\nmax_mode = 1\ntick = 30\nbudget_per_hour = 70000\ntarget = \"high\"\n\
         services = \"web\"\nlisten = \"localhost\"\nenabled = \"yes\"\n",
    );
    assert_eq!(
        case.fails(),
        "homeostat.toml:2:12: control.max_mode: unknown value 1\n  \
         help: use one of \"observe\", \"suggest\", \"act\"\n\
         homeostat.toml:3:8: control.tick: expected a duration such as \"30s\", \"1m30s\" or \"250ms\", found 30\n\
         homeostat.toml:4:19: control.budget_per_hour: expected a whole number from 0 to 65535, found 70000\n\
         homeostat.toml:5:10: control.target: expected a number, found \"high\"\n\
         homeostat.toml:6:12: control.services: expected an array, found \"web\"\n\
         homeostat.toml:7:10: control.listen: invalid socket address syntax\n\
         homeostat.toml:8:11: control.enabled: expected true or false, found \"yes\""
    );
}

#[test]
fn a_table_where_a_value_belongs_and_the_reverse() {
    let case = Case::new("telemetry = 3\n\n[control.tick]\nseconds = 3\n");
    assert_eq!(
        case.fails(),
        "homeostat.toml:1:13: telemetry: expected a table, found 3\n\
         homeostat.toml:3:1: control.tick: expected a duration such as \"30s\", \"1m30s\" or \"250ms\", found a table"
    );
}

#[test]
fn an_unknown_choice_names_the_nearest_one() {
    let case = Case::new("[telemetry]\nformat = \"jsno\"\n[control]\nmax_mode = \"zzz\"\n");
    assert_eq!(
        case.fails(),
        "homeostat.toml:2:10: telemetry.format: unknown value \"jsno\"\n  help: did you mean \"json\"?\n\
         homeostat.toml:4:12: control.max_mode: unknown value \"zzz\"\n  help: use one of \"observe\", \"suggest\", \"act\""
    );
}

#[test]
fn a_duration_that_is_none_says_how_to_write_one() {
    let case = Case::new("[control]\ntick = \"soon\"\n");
    assert_eq!(
        case.fails(),
        "homeostat.toml:2:8: control.tick: `soon` is not a duration, write it like `30s`, `1m30s` or `250ms`"
    );
}

#[test]
fn a_half_written_file_gives_each_broken_line_and_what_else_is_wrong() {
    let case =
        Case::new("[telemetry]\nlog = \nformat = \"text\n\n[control]\nbudget = 3\ntick = 5s\n");
    assert_eq!(
        case.fails(),
        "homeostat.toml:2:7: the value after `=` is missing\n\
         homeostat.toml:3:15: invalid basic string, expected `\"`\n\
         homeostat.toml:6:1: control.budget: unknown key\n  help: did you mean `control.budget_per_hour`?\n\
         homeostat.toml:7:8: string values must be quoted"
    );
}

#[test]
fn a_key_given_twice_is_an_error() {
    let case = Case::new("[control]\ntick = \"1s\"\ntick = \"2s\"\n");
    assert_eq!(case.fails(), "homeostat.toml:3:1: duplicate key");
}

#[test]
fn a_file_that_is_not_there_does_not_hide_the_environment() {
    let mut case = Case::new("").env("HOMEOSTAT__TELEMETRY__LGO", "debug");
    case.sources.file = Some(PathBuf::from("/nowhere/homeostat.toml"));
    assert_eq!(
        case.fails(),
        "/nowhere/homeostat.toml: cannot be read: No such file or directory (os error 2)\n  \
         help: name a file that exists and that this user may read\n\
         HOMEOSTAT__TELEMETRY__LGO: telemetry.lgo: unknown key\n  \
         help: did you mean `HOMEOSTAT__TELEMETRY__LOG`?"
    );
}

#[test]
fn a_file_that_is_no_text_is_refused() {
    let case = Case::new("");
    std::fs::write(case.path("homeostat.toml"), b"log = \"\xff\"").unwrap();
    assert_eq!(
        case.fails(),
        "homeostat.toml: is not UTF-8 text, from byte 7 on\n  help: save the file as UTF-8"
    );
}

#[test]
fn variables_and_flags_are_checked_like_the_file() {
    let case = Case::new("[control]\ntick = \"1s\"\n")
        .env("HOMEOSTAT__CONTROL__BUDGET_PER_HOUR", "many")
        .env("HOMEOSTAT__CONTROL__TICK__SECONDS", "1")
        .flag("control.max_mode", "atc");
    assert_eq!(
        case.fails(),
        "HOMEOSTAT__CONTROL__BUDGET_PER_HOUR: control.budget_per_hour: expected a whole number from 0 to 65535, found \"many\"\n\
         HOMEOSTAT__CONTROL__TICK__SECONDS: control.tick.seconds: cannot be set here: a key on the way to it is set to a value, or names an array element that is not there\n\
         command line (control.max_mode): control.max_mode: unknown value \"atc\"\n  help: did you mean \"act\"?"
    );
}

#[test]
fn what_is_wrong_inside_a_variable_stands_at_the_variable() {
    let case = Case::new("")
        .env(
            "HOMEOSTAT__NOTIFIER__NAMED__OPS",
            "{ url = 5, retires = 1 }",
        )
        .env("HOMEOSTAT__NOTIFIER__NAMED__DEV", "http://x");
    assert_eq!(
        case.fails(),
        "HOMEOSTAT__NOTIFIER__NAMED__DEV: notifier.named.dev: expected a table, found \"http://x\"\n\
         HOMEOSTAT__NOTIFIER__NAMED__OPS: notifier.named.ops.retires: unknown key\n  \
         help: did you mean `HOMEOSTAT__NOTIFIER__NAMED__OPS__RETRIES`?\n\
         HOMEOSTAT__NOTIFIER__NAMED__OPS: notifier.named.ops.url: expected a string, found 5"
    );
}

#[test]
fn variables_win_over_the_file_and_flags_over_both() {
    let case = Case::new("[control]\ntick = \"1s\"\nbudget_per_hour = 1\nservices = [\"a\"]\n")
        .env("HOMEOSTAT__CONTROL__TICK", "2s")
        .env("HOMEOSTAT__CONTROL__BUDGET_PER_HOUR", "2")
        .env("HOMEOSTAT__CONTROL__SERVICES", "web, db")
        .env("HOMEOSTAT__TELEMETRY__LOG", "true")
        .env("HOMEOSTAT__CONTROL__ENABLED", "true")
        .env("UNRELATED", "x")
        .flag("control.budget_per_hour", "3");
    let loaded = case.loads();
    let control = &loaded.value.control;
    assert_eq!(control.tick, HumanDuration::from_secs(2));
    assert_eq!(control.budget_per_hour, 3);
    assert_eq!(control.services, ["web", "db"]);
    assert!(control.enabled);
    assert_eq!(
        loaded.value.telemetry.log, "true",
        "a text is a text, whatever it looks like"
    );
    assert_eq!(
        loaded.origin("control.tick").to_string(),
        "HOMEOSTAT__CONTROL__TICK"
    );
    assert_eq!(
        loaded.origin("control.budget_per_hour").to_string(),
        "command line (control.budget_per_hour)"
    );
    assert_eq!(loaded.origin("control.listen").to_string(), "default");
}

#[test]
fn variables_take_toml_values_too() {
    let case = Case::new("")
        .env("HOMEOSTAT__CONTROL__SERVICES", r#"["a,b", "c"]"#)
        .env("HOMEOSTAT__CONTROL__TARGET", "1")
        .env("HOMEOSTAT__TELEMETRY__LOG", "\"warn\"")
        .env(
            "HOMEOSTAT__NOTIFIER__NAMED__OPS",
            r#"{ url = "http://x", retries = 2 }"#,
        );
    let config = case.loads().value;
    assert_eq!(config.control.services, ["a,b", "c"]);
    assert_eq!(config.control.target, Some(1.0));
    assert_eq!(config.telemetry.log, "warn");
    assert_eq!(config.notifier.named["ops"].retries, 2);
}

#[test]
fn checks_of_the_type_name_the_place_of_the_value() {
    let case = Case::new("[control]\nbudget_per_hour = 100\n[telemetry]\nsample_ratio = 2\n")
        .env("HOMEOSTAT__CONTROL__MAX_MODE", "act")
        .env("HOMEOSTAT__TELEMETRY__OTLP_ENDPOINT", "collector:4317");
    assert_eq!(
        case.fails(),
        "homeostat.toml:2:19: control.budget_per_hour: more than one action a minute\n  help: use 60 or less\n\
         homeostat.toml:4:16: telemetry.sample_ratio: 2 is not a share\n  help: use a number between 0 and 1\n\
         HOMEOSTAT__TELEMETRY__OTLP_ENDPOINT: telemetry.otlp_endpoint: `collector:4317` is not an HTTP address\n  \
         help: use an address such as `http://127.0.0.1:4318`\n\
         default: control.services: acting needs at least one service"
    );
}

#[test]
fn settings_of_the_log_are_checked_too() {
    let case = Case::new("[bus]\nbackend = \"kafka\"\nkafka.compression = \"rar\"\n");
    assert_eq!(
        case.fails(),
        "homeostat.toml:3:21: bus.kafka.compression: is \"rar\"\n  help: use one of none, gzip, snappy, lz4, zstd"
    );
}

#[test]
fn a_wrong_value_is_not_reported_again_by_the_checks() {
    let case = Case::new("[control]\nmax_mode = \"act\"\nservices = 3\n");
    assert_eq!(
        case.fails(),
        "homeostat.toml:3:12: control.services: expected an array, found 3"
    );
}

#[test]
fn entries_without_defaults_say_what_is_missing_and_nothing_twice() {
    let case = Case::new(
        "[notifier.named.ops]\nretries = 3\n\n[notifier.named.dev]\nurl = 5\n\n\
         [[notifier.sinks]]\nkind = \"slack\"\nchannel = \"#ops\"\n\n\
         [[notifier.sinks]]\nkind = \"slak\"\n",
    );
    assert_eq!(
        case.fails(),
        "homeostat.toml:1:1: notifier.named.ops.url: is missing and has no default\n\
         homeostat.toml:5:7: notifier.named.dev.url: expected a string, found 5\n\
         homeostat.toml:7:1: notifier.sinks[0].url: is missing and has no default\n\
         homeostat.toml:12:8: notifier.sinks[1].kind: unknown value \"slak\"\n  help: did you mean \"slack\"?"
    );
}

#[test]
fn an_unknown_key_of_a_tagged_entry_stands_at_the_key() {
    let case = Case::new(
        "[[notifier.sinks]]\nkind = \"slack\"\nurl = { env = \"SLACK\" }\nchanel = \"#ops\"\n",
    )
    .env("SLACK", "https://hooks.example/1");
    assert_eq!(
        case.fails(),
        "homeostat.toml:4:1: notifier.sinks[0].chanel: unknown key\n  help: did you mean `notifier.sinks[0].channel`?"
    );
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_repeated() {
    for literal in ["\"hunter2\"", "2222222222"] {
        let case = Case::new(&format!("[notifier]\ntoken = {literal}\n"));
        assert_eq!(
            case.fails(),
            "homeostat.toml:2:9: notifier.token: a secret must not stand in the configuration itself\n  \
             help: use { file = \"/path/to/file\" } or { env = \"NAME\" }, or set the key by its HOMEOSTAT__ variable"
        );
    }
    let case = Case::new("").flag("notifier.token", "hunter2");
    assert!(!case.fails().contains("hunter2\n"), "{}", case.fails());
    assert!(
        case.fails()
            .starts_with("command line (notifier.token): notifier.token: a secret must not")
    );
}

#[test]
fn a_wrong_value_under_a_secret_name_is_not_repeated() {
    let case = Case::new("[bus.kafka.properties]\n\"sasl.password\" = 12345\n");
    assert_eq!(
        case.fails(),
        "homeostat.toml:2:19: bus.kafka.properties.\"sasl.password\": expected a string, found ***"
    );
}

#[test]
fn a_secret_that_cannot_be_had_says_why() {
    let case = Case::new("[notifier]\ntoken = { file = \"/nowhere/token\" }\n");
    assert_eq!(
        case.fails(),
        "homeostat.toml:2:9: notifier.token: the secret's file /nowhere/token cannot be read: No such file or directory (os error 2)"
    );
    let case = Case::new("[notifier]\ntoken = { env = \"TOKEN\" }\n");
    assert_eq!(
        case.fails(),
        "homeostat.toml:2:9: notifier.token: the secret's variable TOKEN is not set"
    );
    let case = Case::new("[notifier]\ntoken = { vault = \"x\" }\n");
    assert_eq!(
        case.fails(),
        "homeostat.toml:2:11: notifier.token.vault: unknown key\n  \
         help: use one of `notifier.token.file`, `notifier.token.env`"
    );
    let case = Case::new("[notifier]\ntoken = {}\n");
    assert_eq!(
        case.fails(),
        "homeostat.toml:2:9: notifier.token: a secret names its place, `file` or `env`"
    );
    let case = Case::new("").env("HOMEOSTAT__NOTIFIER__TOKEN", "");
    assert_eq!(
        case.fails(),
        "HOMEOSTAT__NOTIFIER__TOKEN: notifier.token: a secret must not be empty"
    );
}

#[test]
fn secrets_come_from_files_and_the_environment_and_are_never_shown() {
    let case = Case::new("");
    let secret_file = case.path("token");
    std::fs::write(&secret_file, "from-file\n").unwrap();
    let text = format!(
        "[notifier]\ntoken = {{ file = \"{}\" }}\n\n[[notifier.sinks]]\nkind = \"slack\"\nurl = {{ env = \"SLACK\" }}\nchannel = \"c\"\n\n\
         [[notifier.sinks]]\nkind = \"pagerduty\"\nrouting_key = {{ env = \"PAGER\" }}\n\n\
         [bus.kafka.properties]\n\"sasl.password\" = \"hunter2\"\n\"ssl.key.location\" = \"/etc/key.pem\"\n",
        secret_file.display()
    );
    std::fs::write(case.path("homeostat.toml"), text).unwrap();
    let case = case.env("SLACK", "from-env").env("PAGER", "1e5").env(
        "HOMEOSTAT__NOTIFIER__SINKS__1__ROUTING_KEY",
        "from-override",
    );
    let loaded = case.loads();
    let notifier = &loaded.value.notifier;
    assert_eq!(notifier.token.as_ref().unwrap().expose(), "from-file");
    match &notifier.sinks[..] {
        [Sink::Slack { url, .. }, Sink::Pagerduty { routing_key }] => {
            assert_eq!(url.expose(), "from-env");
            assert_eq!(routing_key.expose(), "from-override");
        }
        other => panic!("{other:?}"),
    }
    let shown = loaded.show();
    let find = |key: &str| shown.iter().find(|it| it.key == key).unwrap();
    assert_eq!(find("notifier.token").value, "***");
    assert_eq!(find("notifier.sinks[0].url").value, "***");
    assert_eq!(find("bus.kafka.properties.\"sasl.password\"").value, "***");
    assert_eq!(
        find("bus.kafka.properties.\"ssl.key.location\"").value,
        "\"/etc/key.pem\""
    );
    let everything = format!("{shown:?} {loaded:?}");
    assert!(!everything.contains("from-"), "{everything}");
    assert!(!everything.contains("hunter2"), "{everything}");
}

#[test]
fn a_variable_gives_a_secret_as_it_stands() {
    for secret in ["hunter2", "1e5", "007", "true", "a,b", "\"quoted\""] {
        let case = Case::new("").env("HOMEOSTAT__NOTIFIER__TOKEN", secret);
        let token = case.loads().value.notifier.token.unwrap();
        assert_eq!(token.expose(), secret);
    }
}

#[test]
fn show_gives_value_and_origin_of_each_key() {
    let case =
        Case::new("[control]\nservices = [\"web\"]\n").env("HOMEOSTAT__CONTROL__TICK", "90s");
    let shown = case.loads().show();
    let line = |key: &str| {
        let it = shown.iter().find(|it| it.key == key).unwrap();
        let origin = it.origin.to_string();
        let origin = Path::new(&origin)
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        format!("{} = {} # {origin}", it.key, it.value)
    };
    assert_eq!(
        line("control.services"),
        "control.services = [\"web\"] # homeostat.toml:2:12"
    );
    assert_eq!(
        line("control.tick"),
        "control.tick = \"1m30s\" # HOMEOSTAT__CONTROL__TICK"
    );
    assert_eq!(line("control.target"), "control.target = unset # default");
    assert_eq!(line("telemetry.log"), "telemetry.log = \"info\" # default");
}

/// Whatever is in the file, loading ends, and either gives a configuration or says at least one thing.
#[test]
fn mangled_files_never_panic_and_never_fail_silently() {
    let good = "[telemetry]\nlog = \"info\"\n[control]\ntick = \"5s\"\nservices = [\"a\", 'b']\n\
                [[notifier.sinks]]\nkind = \"pagerduty\"\nrouting_key = { env = \"P\" }\n\
                [notifier.named.\"o.p\"]\nurl = \"x\"\n";
    let mut case = Case::new("").env("P", "secret");
    assert!(
        load::<Config>(&Sources {
            file: None,
            ..case.sources.clone()
        })
        .is_ok()
    );
    let file = case.path("homeostat.toml");
    case.sources.file = Some(file.clone());
    for at in 0..good.len() {
        for mangled in [
            good[..at].to_owned(),
            format!("{}{}", &good[..at], &good[at + 1..]),
            format!("{}[{}", &good[..at], &good[at..]),
            format!("{}\"{}", &good[..at], &good[at..]),
            format!("{}= {}", &good[..at], &good[at..]),
        ] {
            std::fs::write(&file, &mangled).unwrap();
            if let Err(problems) = case.load() {
                assert!(!problems.as_slice().is_empty(), "{mangled}");
                assert!(!problems.to_string().is_empty(), "{mangled}");
            }
        }
    }
}
