//! What a catalog promises: one miner a service, new templates once it is learnt, and bounds.
#![allow(clippy::unwrap_used)]

use logs::{Catalog, Standing, TemplateId};
use units::{
    ContainerId, ContainerName, LogLine, LogSeverity, LogStream, NodeId, ServiceId, Timestamp,
};

fn line(service: &str, container: &str, second: i64, text: &str) -> LogLine {
    LogLine {
        at: Timestamp::from_millis(second * 1_000),
        node: NodeId::from("node-a"),
        service: ServiceId::from(service),
        container: ContainerId::from(container),
        name: ContainerName::from(container),
        stream: LogStream::Stdout,
        severity: LogSeverity::Info,
        sequence: 0,
        lines: 1,
        lost_before: 0,
        limited_before: 0,
        trace_id: None,
        text: text.to_owned(),
        raw: None,
    }
}

fn see(catalog: &mut Catalog, line: &LogLine) -> (TemplateId, Standing) {
    let seen = catalog.observe(line).unwrap();
    (seen.template.id(), seen.standing)
}

/// A catalog that has heard ordinary lines of a service for so long.
fn learnt(seconds: i64) -> Catalog {
    let mut catalog = Catalog::default();
    for second in 0..seconds {
        let text = format!("request {second} done in {} ms", second % 90);
        catalog.observe(&line("web", "web-1", second, &text));
    }
    catalog
}

#[test]
fn containers_of_a_service_share_their_templates_and_services_do_not() {
    let mut catalog = learnt(1_000);
    let other = line("web", "web-2", 1_000, "request 9 done in 3 ms");
    assert_eq!(see(&mut catalog, &other).1, Standing::Known);
    see(
        &mut catalog,
        &line("cart", "cart-1", 1_000, "request 9 done in 3 ms"),
    );
    assert_eq!(catalog.counts().services, 2);
    assert_eq!(catalog.counts().templates, 2);
}

#[test]
fn a_template_is_new_for_ten_minutes_once_its_service_is_learnt() {
    let odd = |second| {
        line(
            "web",
            "web-1",
            second,
            &format!("pool exhausted after {second} s"),
        )
    };
    let mut young = learnt(599);
    assert_eq!(see(&mut young, &odd(599)).1, Standing::Known);

    let mut catalog = learnt(700);
    let (id, standing) = see(&mut catalog, &odd(700));
    assert_eq!(standing, Standing::New);
    assert_eq!(see(&mut catalog, &odd(1_299)), (id, Standing::New));
    assert_eq!(see(&mut catalog, &odd(1_300)), (id, Standing::Known));
    assert_eq!(see(&mut catalog, &odd(1_301)), (id, Standing::Known));
}

#[test]
fn templates_of_one_trouble_are_all_new_and_those_of_a_service_that_makes_many_are_not() {
    let texts = [
        "alpha broke",
        "beta is gone",
        "gamma never came",
        "delta stays shut",
    ];
    let mut catalog = learnt(700);
    for text in texts {
        let seen = see(&mut catalog, &line("web", "web-1", 700, text));
        assert_eq!(seen.1, Standing::New, "{text}");
    }
    let late = line("web", "web-1", 800, "epsilon is new as well");
    assert_eq!(see(&mut catalog, &late).1, Standing::Known);
}

#[test]
fn a_forgotten_template_that_comes_back_is_not_new() {
    let mut catalog = learnt(700);
    let rare = |second| line("web", "web-1", second, "the certificate was renewed");
    see(&mut catalog, &rare(700));
    let mut evicted = 0;
    for second in 0..4_000 {
        let word: String = format!("{second:04}")
            .bytes()
            .map(|digit| char::from(b'a' + (digit - b'0')))
            .collect();
        let text = format!("{word} {word}x {word}y seen");
        catalog.observe(&line("web", "web-1", 701, &text));
        evicted = catalog.counts().evicted;
        if evicted > 256 {
            break;
        }
    }
    assert!(evicted > 256, "{evicted}");
    assert_eq!(see(&mut catalog, &rare(9_000)).1, Standing::Known);
}

#[test]
fn more_services_than_there_is_room_for_are_given_up_and_counted() {
    let mut catalog = Catalog::default();
    for number in 0..300 {
        let service = format!("service-{number}");
        catalog.observe(&line(&service, &service, number, "started"));
    }
    let counts = catalog.counts();
    assert_eq!((counts.services, counts.given_up), (256, 44));
    catalog.retain(|service| service.as_str() != "service-299");
    assert_eq!(catalog.counts().services, 255);
}

#[test]
fn long_texts_of_many_services_take_no_more_than_the_bytes_there_are() {
    let mut catalog = Catalog::default();
    for number in 0..20_000_i64 {
        let service = format!("service-{}", number % 200);
        let word: String = format!("{:05}", number * 7_919 % 100_000)
            .bytes()
            .map(|digit| char::from(b'a' + (digit - b'0')))
            .collect();
        let text = format!("{word} {}", format!("{word}words ").repeat(60));
        catalog.observe(&line(&service, &service, number, &text));
    }
    let counts = catalog.counts();
    assert!(counts.bytes <= 16 * 1024 * 1024, "{counts:?}");
    assert!(counts.services > 50 && counts.given_up > 0, "{counts:?}");
}

#[test]
fn a_state_that_was_read_back_goes_on_as_before() {
    let mut catalog = learnt(700);
    for second in 700..760 {
        let state = postcard::to_stdvec(&catalog).unwrap();
        let mut other: Catalog = postcard::from_bytes(&state).unwrap();
        assert_eq!(other, catalog);
        let next = line(
            "web",
            "web-1",
            second,
            &format!("worker {second} lost {}", second % 7),
        );
        assert_eq!(see(&mut other, &next), see(&mut catalog, &next));
        assert_eq!(other, catalog);
    }
}
