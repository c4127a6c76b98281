//! What bridges the moment between a claim and the cache that shows it.
//!
//! Invariant: nothing here outlives the process or decides alone; a restart reads the objects and knows as much.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;
use kube::runtime::reflector::Store;
use stagecraft_api::v1alpha1::ImageBuild;

/// Every ImageBuild, from the caches of the watches.
#[derive(Clone, Default)]
pub(crate) struct Directory {
    stores: Vec<Store<ImageBuild>>,
}

impl Directory {
    /// The builds in these caches.
    pub(crate) fn new(stores: Vec<Store<ImageBuild>>) -> Self {
        Self { stores }
    }

    /// All builds.
    pub(crate) fn builds(&self) -> Vec<Arc<ImageBuild>> {
        self.stores.iter().flat_map(Store::state).collect()
    }
}

/// The runs that this process has given to builds.
#[derive(Default)]
pub(crate) struct Claims {
    admission: tokio::sync::Mutex<()>,
    runs: Mutex<HashMap<String, i32>>,
}

impl Claims {
    /// Held by whoever is about to start a run.
    pub(crate) async fn admission(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.admission.lock().await
    }

    /// Notes that a build was given a run.
    pub(crate) fn claim(&self, uid: &str, run: i32) {
        self.runs().insert(uid.to_owned(), run);
    }

    /// Forgets a build that is gone.
    pub(crate) fn release(&self, uid: &str) {
        self.runs().remove(uid);
    }

    /// Whether a build has a run that its cached object does not show yet.
    pub(crate) fn covers(&self, cached: &ImageBuild) -> bool {
        let shown = cached
            .status
            .as_ref()
            .and_then(|status| status.run.as_ref());
        let shown = shown.map_or(0, |run| run.number);
        let uid = cached.uid().unwrap_or_default();
        self.runs()
            .get(&uid)
            .is_some_and(|claimed| *claimed > shown)
    }

    fn runs(&self) -> std::sync::MutexGuard<'_, HashMap<String, i32>> {
        // A map of numbers is whole, whoever panicked while holding it.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
