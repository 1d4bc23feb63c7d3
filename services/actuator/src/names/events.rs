//! What is worth telling of names in networks.

use units::ContainerId;

/// A container's name in a network was changed.
pub(super) struct NameChanged<'a> {
    pub(super) container: &'a ContainerId,
    pub(super) network: &'a str,
    pub(super) change: Change,
}

/// What was done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Given,
    GivenUp,
    /// It was in no network, or in one with an address of this node's choice.
    PutBack,
}

impl NameChanged<'_> {
    pub(super) fn emit(self) {
        let NameChanged {
            container,
            network,
            change,
        } = self;
        match change {
            Change::Given => tracing::info!(%container, network, "serves, and has its name"),
            Change::GivenUp => tracing::info!(%container, network, "gave up its name"),
            Change::PutBack => tracing::info!(%container, network, "is as it was in its network"),
        }
    }
}

/// A container stays without its name, or out of its network, and it is tried again.
pub(super) struct NotChanged<'a> {
    pub(super) container: &'a ContainerId,
    pub(super) network: &'a str,
    pub(super) error: &'a str,
}

impl NotChanged<'_> {
    pub(super) fn emit(self) {
        let NotChanged {
            container,
            network,
            error,
        } = self;
        tracing::error!(%container, network, error,
            "cannot be put into its network as it is to be, and is tried again; by hand it is `docker network connect`");
    }
}

/// A container with the label keeps its name whatever becomes of it.
pub(super) struct NotManaged<'a> {
    pub(super) container: &'a ContainerId,
    pub(super) reason: &'a str,
}

impl NotManaged<'_> {
    pub(super) fn emit(self) {
        let NotManaged { container, reason } = self;
        tracing::warn!(%container, reason, "its name is left as it is");
    }
}
