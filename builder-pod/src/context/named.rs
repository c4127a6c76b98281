//! Named contexts: what a request says stands for stages and images.
//!
//! The planner is told what kind each is; directories and layouts stay here, by the name that the plan calls them.
//! Invariant: a directory is read only where the plan uses it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stagecraft_plan::{BuildPlan, ContextId, ContextSource};
use stagecraft_registry::{LayoutError, OciLayout};

use super::{Context, ContextError};

/// What introduces an OCI layout.
const LAYOUT: &str = "oci-layout://";

/// Why a named context cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NamedContextError {
    /// The directory cannot be read.
    #[error("the named context {name} cannot be read")]
    Directory {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: ContextError,
    },
    /// The layout cannot be read.
    #[error("the named context {name} cannot be read")]
    Layout {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: LayoutError,
    },
}

/// The named contexts of a request.
#[derive(Debug, Default)]
pub(crate) struct NamedContexts {
    /// In the form in which the planner gets them.
    pub(crate) planned: BTreeMap<String, String>,
    /// Paths by the names that the plan has.
    directories: HashMap<String, PathBuf>,
    /// Layouts by the names that the plan has.
    layouts: HashMap<String, Arc<OciLayout>>,
}

impl NamedContexts {
    /// Looks at what a request says.
    ///
    /// # Errors
    /// When a layout cannot be read.
    pub(crate) fn of(given: &BTreeMap<String, String>) -> Result<Self, NamedContextError> {
        let mut contexts = Self::default();
        for (name, value) in given {
            let planned = match value.strip_prefix(LAYOUT) {
                Some(image) => contexts.layout(name, image)?,
                None if value.starts_with('/') => {
                    contexts.directories.insert(name.clone(), value.into());
                    format!("local:{name}")
                }
                None => value.clone(),
            };
            contexts.planned.insert(name.clone(), planned);
        }
        Ok(contexts)
    }

    /// An image of a layout: the planner is told its digest.
    fn layout(&mut self, name: &str, image: &str) -> Result<String, NamedContextError> {
        let failed = |source| NamedContextError::Layout {
            name: name.to_owned(),
            source,
        };
        let (place, digest) = match image.rsplit_once('@') {
            Some((place, digest)) => (place, Some(digest.to_owned())),
            None => (image, None),
        };
        let (path, tag) = match place.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, tag),
            _ => (place, "latest"),
        };
        let layout = OciLayout::open(Path::new(path)).map_err(failed)?;
        let digest = match digest {
            Some(digest) => digest,
            None => layout.find(tag).map_err(failed)?.to_string(),
        };
        let store = format!("layout-{}", self.layouts.len());
        self.layouts.insert(store.clone(), Arc::new(layout));
        Ok(format!("{LAYOUT}{store}@{digest}"))
    }

    /// The layout that a plan calls by this name.
    pub(crate) fn find_layout(&self, store: &str) -> Option<&Arc<OciLayout>> {
        self.layouts.get(store)
    }

    /// Reads the directories that a plan uses.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn open(
        &self,
        plan: &BuildPlan,
    ) -> Result<HashMap<ContextId, Arc<Context>>, NamedContextError> {
        let mut opened = HashMap::new();
        for (position, context) in plan.contexts.iter().enumerate() {
            let ContextSource::Directory { name } = &context.source else {
                continue;
            };
            let Some(path) = self.directories.get(name) else {
                continue;
            };
            let files =
                Context::open_named(path).map_err(|source| NamedContextError::Directory {
                    name: context.name.clone(),
                    source,
                })?;
            opened.insert(ContextId(position), Arc::new(files));
        }
        Ok(opened)
    }
}
