//! The images that a plan needs: each once, with what is known of it.

use stagecraft_image::{Digest, ImageConfig, Platform, Reference};

use crate::image::{ImageId, ImageOrigin, ImagePurpose, ImageRequest, PlannedImage};

/// The images by id.
#[derive(Debug, Default)]
pub(crate) struct Images(Vec<Image>);

#[derive(Debug)]
struct Image {
    request: ImageRequest,
    is_base: bool,
    resolved: Option<(Digest, ImageConfig)>,
}

impl Images {
    /// The id of an image; `request` makes the question if it was not asked before.
    pub(crate) fn want(
        &mut self,
        (reference, origin): (&Reference, &ImageOrigin),
        platform: &Platform,
        purpose: ImagePurpose,
        request: impl FnOnce(ImageId) -> ImageRequest,
    ) -> ImageId {
        let known = self.0.iter().position(|image| {
            let request = &image.request;
            (&request.reference, &request.origin, &request.platform)
                == (reference, origin, platform)
        });
        let id = ImageId(known.unwrap_or(self.0.len()));
        match self.0.get_mut(id.0) {
            Some(image) => image.is_base |= purpose == ImagePurpose::Base,
            None => self.0.push(Image {
                request: request(id),
                is_base: purpose == ImagePurpose::Base,
                resolved: None,
            }),
        }
        id
    }

    /// What an image was resolved to.
    pub(crate) fn resolved(&self, id: ImageId) -> Option<&(Digest, ImageConfig)> {
        self.0.get(id.0)?.resolved.as_ref()
    }

    /// The configuration of an image, once it is resolved.
    pub(crate) fn config(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Option<&ImageConfig> {
        let found = self.0.iter().find(|image| {
            image.request.reference == *reference && image.request.platform == *platform
        });
        found?.resolved.as_ref().map(|(_, config)| config)
    }

    /// Notes what an image was resolved to.
    pub(crate) fn resolve(&mut self, id: ImageId, digest: Digest, config: ImageConfig) {
        if let Some(image) = self.0.get_mut(id.0) {
            image.resolved = Some((digest, config));
        }
    }

    /// The images that are not resolved yet.
    pub(crate) fn open(&self) -> Vec<ImageRequest> {
        let open = self.0.iter().filter(|image| image.resolved.is_none());
        open.map(|image| image.request.clone()).collect()
    }

    /// The images, in the order of their ids.
    pub(crate) fn planned(&self) -> Vec<PlannedImage> {
        let planned = |image: &Image| {
            let ImageRequest {
                reference,
                origin,
                platform,
                ..
            } = &image.request;
            let (digest, config) = match &image.resolved {
                Some((digest, config)) => (Some(digest.clone()), config.clone()),
                None => (None, ImageConfig::scratch(platform)),
            };
            PlannedImage {
                reference: reference.clone(),
                origin: origin.clone(),
                platform: platform.clone(),
                digest,
                is_base: image.is_base,
                config,
            }
        };
        self.0.iter().map(planned).collect()
    }
}
