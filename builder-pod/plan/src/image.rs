//! Images that a plan stands on: what is asked for, and what a plan says of them.

use serde::Serialize;
use stagecraft_image::{Digest, ImageConfig, Platform, Reference};

use crate::plan::Place;

/// Position of an image in [`crate::BuildPlan::images`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ImageId(pub usize);

/// What an image is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ImagePurpose {
    /// A stage begins with it (`FROM`).
    Base,
    /// Files are copied out of it (`COPY --from`).
    CopySource,
}

/// Where an image is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ImageOrigin {
    /// In the registry that its name says.
    #[default]
    Registry,
    /// In an OCI layout, by its digest.
    Layout(
        /// What the request calls the layout.
        String,
    ),
}

impl ImageOrigin {
    fn is_registry(&self) -> bool {
        *self == Self::Registry
    }
}

/// An image that must be resolved before planning goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRequest {
    /// Its name for [`crate::Planner::provide`] and in the plan.
    pub id: ImageId,
    /// Its full name; [`Reference::familiar`] is what people wrote.
    pub reference: Reference,
    /// Where it is.
    pub origin: ImageOrigin,
    /// The platform to choose from an index.
    pub platform: Platform,
    /// What it is needed for first.
    pub purpose: ImagePurpose,
    /// Where that stands.
    pub place: Place,
    /// The stage that stands in: its name, or its index as text.
    pub stage: String,
    /// The instruction, on one line.
    pub instruction: String,
    /// What was probably meant, to be told when the image cannot be resolved:
    /// `did you mean the stage "builder"?`.
    pub hint: Option<String>,
}

/// An image of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedImage {
    /// Its full name as asked for.
    pub reference: Reference,
    /// Where it is.
    #[serde(skip_serializing_if = "ImageOrigin::is_registry")]
    pub origin: ImageOrigin,
    /// The platform asked for.
    pub platform: Platform,
    /// Digest of its manifest. It is missing only in what [`crate::Planner::understood`] gives.
    pub digest: Option<Digest>,
    /// Whether a stage begins with it; otherwise files are only copied out of it.
    pub is_base: bool,
    /// Its configuration.
    #[serde(skip)]
    pub config: ImageConfig,
}
