//! Containers and their networks.

use std::collections::HashMap;

use bollard::models::{
    ContainerSummary, EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::{InspectNetworkOptions, ListContainersOptions};
use units::{ContainerId, ContainerName, LABEL_HAPROXY};

use super::{Engine, EngineError, READ_WITHIN, WRITE_WITHIN};

impl Engine {
    /// Names of the containers that share the network of this one.
    pub(crate) async fn sharers(
        &self,
        container: &ContainerId,
        name: &ContainerName,
    ) -> Result<Vec<String>, EngineError> {
        Ok(sharing(&self.all().await?, container, name))
    }

    /// Every container, running or not.
    pub(crate) async fn all(&self) -> Result<Vec<ContainerSummary>, EngineError> {
        let options = ListContainersOptions {
            all: true,
            ..ListContainersOptions::default()
        };
        self.call(READ_WITHIN, |docker| async move {
            docker.list_containers(Some(options)).await
        })
        .await
    }

    /// The containers, running or not, that have this label.
    pub(crate) async fn labelled(&self, label: &str) -> Result<Vec<ContainerSummary>, EngineError> {
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([(
                "label".to_owned(),
                vec![label.to_owned()],
            )])),
            ..ListContainersOptions::default()
        };
        self.call(READ_WITHIN, |docker| async move {
            docker.list_containers(Some(options)).await
        })
        .await
    }

    /// The containers, running or not, whose label names a backend of a load balancer.
    pub(crate) async fn with_haproxy(&self) -> Result<Vec<ContainerSummary>, EngineError> {
        self.labelled(LABEL_HAPROXY).await
    }

    /// Whether there is a network of this name.
    pub(crate) async fn has_network(&self, network: &str) -> Result<bool, EngineError> {
        let found = self
            .call(READ_WITHIN, |docker| async move {
                docker
                    .inspect_network(network, None::<InspectNetworkOptions>)
                    .await
            })
            .await;
        match found {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn connect(
        &self,
        container: &ContainerId,
        network: &str,
        endpoint: &EndpointSettings,
    ) -> Result<(), EngineError> {
        let request = NetworkConnectRequest {
            container: container.as_str().to_owned(),
            endpoint_config: Some(endpoint.clone()),
        };
        self.call(WRITE_WITHIN, |docker| async move {
            docker.connect_network(network, request).await
        })
        .await
    }

    pub(crate) async fn disconnect(
        &self,
        container: &ContainerId,
        network: &str,
    ) -> Result<(), EngineError> {
        let request = NetworkDisconnectRequest {
            container: container.as_str().to_owned(),
            force: Some(false),
        };
        self.call(WRITE_WITHIN, |docker| async move {
            docker.disconnect_network(network, request).await
        })
        .await
    }
}

/// Names of those of these containers that share the network of this one.
pub(crate) fn sharing(
    all: &[ContainerSummary],
    container: &ContainerId,
    name: &ContainerName,
) -> Vec<String> {
    let shares = |mode: &str| {
        let owner = mode.strip_prefix("container:");
        owner.is_some_and(|owner| owner == container.as_str() || owner == name.as_str())
    };
    let sharers = all.iter().filter(|it| {
        let host = it.host_config.as_ref();
        let mode = host.and_then(|host| host.network_mode.as_deref());
        mode.is_some_and(shares)
    });
    let names = sharers.filter_map(|it| it.names.as_ref()?.first());
    names
        .map(|name| name.trim_start_matches('/').to_owned())
        .collect()
}
