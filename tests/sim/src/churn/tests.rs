use proptest::prelude::*;

use super::*;

fn item(start_min: f64, end_min: f64, size_percent: f64) -> Item {
    Item {
        start_min,
        end_min,
        size_percent,
    }
}

#[test]
fn one_item_costs_its_time() {
    let found = churn(&[item(3.0, 13.0, 40.0), item(5.0, 5.0, 10.0)]).unwrap();
    assert_eq!((found.host_time_min, found.host_time_ratio), (10.0, 1.0));
    assert_eq!((found.moves_per_item, found.items), (0.0, 1));
}

#[test]
fn the_bound_counts_large_items_and_rounds_up() {
    let items = [
        item(0.0, 10.0, 51.0),
        item(0.0, 10.0, 52.0),
        item(0.0, 20.0, 1.0),
    ];
    assert_eq!(bound_min(&items), 2.0 * 10.0 + 10.0);
    let sixths = vec![item(0.0, 6.0, 100.0 / 6.0); 6];
    assert_eq!(
        (bound_min(&sixths), churn(&sixths).unwrap().host_time_min),
        (6.0, 6.0)
    );
}

#[test]
fn what_is_left_over_after_the_last_arrival_is_brought_together() {
    let mut items = Vec::new();
    for host in 0..4 {
        items.push(item(0.1 * f64::from(host), 1_000.0, 20.0));
        items.push(item(0.1 * f64::from(host), 50.0, 80.0));
    }
    let found = churn(&items).unwrap();
    assert!(found.host_time_ratio < 1.02, "{found:?}");
    assert!(found.moves_per_item <= 3.0 / 8.0, "{found:?}");
}

#[test]
fn what_is_no_item_is_refused() {
    assert_eq!(churn(&[item(1.0, 1.0, 5.0)]), Err(ChurnError::NoItems));
    let size_percent = 101.0;
    assert_eq!(
        churn(&[item(0.0, 1.0, 5.0), item(1.0, 2.0, size_percent)]),
        Err(ChurnError::Size {
            at: 1,
            size_percent
        })
    );
    assert_eq!(
        churn(&[item(0.0, f64::INFINITY, 5.0)]),
        Err(ChurnError::Time { at: 0 })
    );
}

proptest! {
    #[test]
    fn hosts_cost_at_least_the_bound(
        items in prop::collection::vec((0_u32..500, 1_u32..300, 1_u32..=100), 1..150),
    ) {
        let items: Vec<Item> = items
            .into_iter()
            .map(|(start, life, size)| {
                item(f64::from(start), f64::from(start + life), f64::from(size))
            })
            .collect();
        let found = churn(&items).unwrap();
        prop_assert!(found.host_time_ratio >= 1.0 - 1e-9);
        prop_assert_eq!(churn(&items).unwrap(), found);
    }
}
