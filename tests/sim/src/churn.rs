//! Arrivals, departures and periodic packing of items of one dimension on equal hosts.
