//! An agent of the engine's own: it has private keys, tells their public halves, and signs.
//!
//! Invariant: nothing that it answers holds anything of a private key, whatever it is asked.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512,
};

use super::file::{self, KeyError};
use super::wire::{Words, put_integer, put_text};
use super::{FAILURE, LIST, SIGN};

/// Answers to [`LIST`] and [`SIGN`].
const LISTED: u8 = 12;
const SIGNED: u8 = 14;
/// What a client sets to ask for the hash of an RSA signature.
const WITH_SHA256: u32 = 2;
const WITH_SHA512: u32 = 4;

/// Private keys.
pub struct Keys(Vec<Key>);

/// One of them.
pub(super) struct Key {
    /// Its public half as clients know it.
    public: Vec<u8>,
    comment: Vec<u8>,
    secret: Secret,
}

/// What signs.
pub(super) enum Secret {
    Ed25519(Ed25519KeyPair),
    /// With the curve's name, such as `nistp256`.
    Ecdsa(&'static str, EcdsaKeyPair),
    Rsa(rsa::KeyPair),
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keys({})", self.0.len())
    }
}

impl Keys {
    /// The keys of a file as ssh-keygen or openssl write it.
    ///
    /// # Errors
    /// When it holds none, or one that cannot be used.
    pub fn read(text: &[u8]) -> Result<Self, KeyError> {
        file::read(text).map(Self)
    }

    /// The answer to a request.
    pub(super) fn answer(&self, request: &[u8]) -> Vec<u8> {
        let answer = match request.split_first() {
            Some((&LIST, [])) => Some(self.list()),
            Some((&SIGN, rest)) => self.sign(Words::new(rest)),
            _ => None,
        };
        answer.unwrap_or_else(|| vec![FAILURE])
    }

    fn list(&self) -> Vec<u8> {
        let mut answer = vec![LISTED];
        let count = u32::try_from(self.0.len()).unwrap_or(0);
        answer.extend_from_slice(&count.to_be_bytes());
        for key in &self.0 {
            put_text(&mut answer, &key.public);
            put_text(&mut answer, &key.comment);
        }
        answer
    }

    fn sign(&self, mut words: Words<'_>) -> Option<Vec<u8>> {
        let (public, data, flags) = (words.text()?, words.text()?, words.number()?);
        let key = self.0.iter().find(|key| key.public == public)?;
        let (algorithm, bytes) = key.secret.sign(data, flags)?;
        let mut signature = Vec::new();
        put_text(&mut signature, algorithm.as_bytes());
        put_text(&mut signature, &bytes);
        let mut answer = vec![SIGNED];
        put_text(&mut answer, &signature);
        Some(answer)
    }
}

impl Key {
    pub(super) fn new(secret: Secret, comment: &[u8]) -> Self {
        Self {
            public: secret.public(),
            comment: comment.to_vec(),
            secret,
        }
    }
}

impl Secret {
    fn public(&self) -> Vec<u8> {
        let mut public = Vec::new();
        match self {
            Self::Ed25519(pair) => {
                put_text(&mut public, b"ssh-ed25519");
                put_text(&mut public, pair.public_key().as_ref());
            }
            Self::Ecdsa(curve, pair) => {
                put_text(&mut public, format!("ecdsa-sha2-{curve}").as_bytes());
                put_text(&mut public, curve.as_bytes());
                put_text(&mut public, pair.public_key().as_ref());
            }
            Self::Rsa(pair) => {
                let key = pair.public_key();
                put_text(&mut public, b"ssh-rsa");
                put_integer(
                    &mut public,
                    key.exponent().big_endian_without_leading_zero(),
                );
                put_integer(&mut public, key.modulus().big_endian_without_leading_zero());
            }
        }
        public
    }

    /// The signature and the name of its form.
    fn sign(&self, data: &[u8], flags: u32) -> Option<(String, Vec<u8>)> {
        let random = SystemRandom::new();
        match self {
            Self::Ed25519(pair) => {
                let signature = pair.try_sign(data).ok()?;
                Some(("ssh-ed25519".to_owned(), signature.as_ref().to_vec()))
            }
            Self::Ecdsa(curve, pair) => {
                let signature = pair.sign(&random, data).ok()?;
                let signature = signature.as_ref();
                let (r, s) = signature.split_at_checked(signature.len() / 2)?;
                let mut numbers = Vec::new();
                put_integer(&mut numbers, r);
                put_integer(&mut numbers, s);
                Some((format!("ecdsa-sha2-{curve}"), numbers))
            }
            Self::Rsa(pair) => {
                // Nothing signs with SHA-1 any more.
                let (name, encoding) = if flags & WITH_SHA512 != 0 {
                    ("rsa-sha2-512", &RSA_PKCS1_SHA512)
                } else if flags & WITH_SHA256 != 0 {
                    ("rsa-sha2-256", &RSA_PKCS1_SHA256)
                } else {
                    return None;
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, data, &mut signature).ok()?;
                Some((name.to_owned(), signature))
            }
        }
    }
}

#[cfg(test)]
mod tests;
