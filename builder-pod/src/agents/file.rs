//! Private keys in files, as ssh-keygen (`OPENSSH PRIVATE KEY`) and openssl (PKCS#1, SEC 1, PKCS#8) write them.
//!
//! Invariant: an error holds nothing of a file's content but the name of its form.

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
};

use super::keys::{Key, Secret};
use super::wire::{Words, without_zeros};

/// What a file of OpenSSH's own form begins with.
const MAGIC: &[u8] = b"openssh-key-v1\0";

/// A curve: its name, how it is signed with, and the bytes of a private number.
struct Curve {
    name: &'static str,
    algorithm: &'static EcdsaSigningAlgorithm,
    length: usize,
}

const CURVES: [Curve; 3] = [
    Curve {
        name: "nistp256",
        algorithm: &ECDSA_P256_SHA256_FIXED_SIGNING,
        length: 32,
    },
    Curve {
        name: "nistp384",
        algorithm: &ECDSA_P384_SHA384_FIXED_SIGNING,
        length: 48,
    },
    Curve {
        name: "nistp521",
        algorithm: &ECDSA_P521_SHA512_FIXED_SIGNING,
        length: 66,
    },
];

/// Why a file gives no key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is none of the forms that are known.
    #[error(
        "it is no private key: a file as ssh-keygen writes it begins with -----BEGIN OPENSSH PRIVATE KEY-----"
    )]
    NoKey,
    /// A passphrase would have to be typed.
    #[error("the key has a passphrase: take one without, or an agent that has the key")]
    Passphrase,
    /// Its parts do not fit.
    #[error("the {0} is damaged, or of a form that is not known")]
    Malformed(String),
    /// An algorithm that is not known.
    #[error("keys of type {0} cannot be used; Ed25519, ECDSA and RSA (2048 to 8192 bits) can")]
    Algorithm(String),
}

/// The keys of a file.
pub(super) fn read(text: &[u8]) -> Result<Vec<Key>, KeyError> {
    let blocks = pem::parse_many(text).map_err(|_| KeyError::NoKey)?;
    let mut keys = Vec::new();
    for block in &blocks {
        let is_encrypted = block
            .headers()
            .get("Proc-Type")
            .is_some_and(|value| value.contains("ENCRYPTED"));
        if is_encrypted {
            return Err(KeyError::Passphrase);
        }
        let content = block.contents();
        let malformed = || KeyError::Malformed(block.tag().to_lowercase());
        let secret = match block.tag() {
            "OPENSSH PRIVATE KEY" => {
                keys.extend(openssh(content)?);
                continue;
            }
            "RSA PRIVATE KEY" => rsa::KeyPair::from_der(content).ok().map(Secret::Rsa),
            "EC PRIVATE KEY" => curve_key(content),
            "PRIVATE KEY" => Ed25519KeyPair::from_pkcs8(content)
                .ok()
                .map(Secret::Ed25519)
                .or_else(|| rsa::KeyPair::from_pkcs8(content).ok().map(Secret::Rsa))
                .or_else(|| curve_key(content)),
            "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Passphrase),
            "DSA PRIVATE KEY" => return Err(KeyError::Algorithm("ssh-dss".to_owned())),
            _ => continue,
        };
        keys.push(Key::new(secret.ok_or_else(malformed)?, b""));
    }
    match keys.is_empty() {
        true => Err(KeyError::NoKey),
        false => Ok(keys),
    }
}

/// A key of one of the curves, in SEC 1 or PKCS#8.
fn curve_key(content: &[u8]) -> Option<Secret> {
    CURVES.iter().find_map(|curve| {
        let pair = EcdsaKeyPair::from_private_key_der(curve.algorithm, content).ok()?;
        Some(Secret::Ecdsa(curve.name, pair))
    })
}

/// The keys of OpenSSH's own form.
fn openssh(content: &[u8]) -> Result<Vec<Key>, KeyError> {
    let malformed = || KeyError::Malformed("openssh private key".to_owned());
    let mut words = Words::new(content.strip_prefix(MAGIC).ok_or_else(malformed)?);
    let mut text = || words.text().ok_or_else(malformed);
    let (cipher, _, _) = (text()?, text()?, text()?);
    if cipher != b"none" {
        return Err(KeyError::Passphrase);
    }
    let count = words.number().ok_or_else(malformed)?;
    for _ in 0..count {
        words.text().ok_or_else(malformed)?;
    }
    let mut secrets = Words::new(words.text().ok_or_else(malformed)?);
    // Two equal numbers, which show with a passphrase whether it was the right one.
    if secrets.number() != secrets.number() {
        return Err(malformed());
    }
    let mut keys = Vec::new();
    for _ in 0..count {
        let algorithm = secrets.text().ok_or_else(malformed)?;
        let secret = match algorithm {
            b"ssh-ed25519" => ed25519(&mut secrets),
            b"ssh-rsa" => rsa_key(&mut secrets),
            other if other.starts_with(b"ecdsa-sha2-") => ecdsa(&mut secrets),
            other => {
                let name = String::from_utf8_lossy(other).into_owned();
                return Err(KeyError::Algorithm(name));
            }
        };
        let secret = secret.ok_or_else(malformed)?;
        let comment = secrets.text().ok_or_else(malformed)?;
        keys.push(Key::new(secret, comment));
    }
    Ok(keys)
}

fn ed25519(words: &mut Words<'_>) -> Option<Secret> {
    let (public, secret) = (words.text()?, words.text()?);
    let pair = Ed25519KeyPair::from_seed_and_public_key(secret.get(..32)?, public).ok()?;
    Some(Secret::Ed25519(pair))
}

fn ecdsa(words: &mut Words<'_>) -> Option<Secret> {
    let (name, point, number) = (words.text()?, words.text()?, words.text()?);
    let curve = CURVES.iter().find(|curve| curve.name.as_bytes() == name)?;
    let digits = without_zeros(number);
    let mut private = vec![0; curve.length.checked_sub(digits.len())?];
    private.extend_from_slice(digits);
    let pair = EcdsaKeyPair::from_private_key_and_public_key(curve.algorithm, &private, point);
    Some(Secret::Ecdsa(curve.name, pair.ok()?))
}

fn rsa_key(words: &mut Words<'_>) -> Option<Secret> {
    let [n, e, d, inverse, p, q] = [(); 6].map(|()| words.text().map(without_zeros));
    let (d, p, q) = (d?, p?, q?);
    let components = rsa::KeyPairComponents {
        public_key: rsa::PublicKeyComponents { n: n?, e: e? },
        d,
        p,
        q,
        dP: &remainder(d, &one_less(p)),
        dQ: &remainder(d, &one_less(q)),
        qInv: inverse?,
    };
    rsa::KeyPair::from_components(&components)
        .ok()
        .map(Secret::Rsa)
}

/// An odd number without its last bit.
fn one_less(odd: &[u8]) -> Vec<u8> {
    let mut number = odd.to_vec();
    if let Some(last) = number.last_mut() {
        *last &= !1;
    }
    number
}

/// What is left of `number` divided by `divisor`, both big-endian: OpenSSH leaves it to the reader.
fn remainder(number: &[u8], divisor: &[u8]) -> Vec<u8> {
    let mut divisor = divisor.to_vec();
    // One digit more, so that doubling what is less than the divisor never overflows.
    divisor.insert(0, 0);
    let mut rest = vec![0_u8; divisor.len()];
    for bit in number
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |place| (byte >> place) & 1))
    {
        let mut carry = bit;
        for digit in rest.iter_mut().rev() {
            (*digit, carry) = ((*digit << 1) | carry, *digit >> 7);
        }
        if rest >= divisor {
            let mut borrow = false;
            for (digit, less) in rest.iter_mut().zip(&divisor).rev() {
                let (first, below) = digit.overflowing_sub(*less);
                let (second, again) = first.overflowing_sub(u8::from(borrow));
                (*digit, borrow) = (second, below || again);
            }
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_are_those_of_numbers() {
        let of = |number: u64, divisor: u64| {
            let rest = remainder(&number.to_be_bytes(), without_zeros(&divisor.to_be_bytes()));
            rest.iter()
                .fold(0_u64, |sum, digit| sum << 8 | u64::from(*digit))
        };
        for (number, divisor) in [
            (0, 7),
            (6, 7),
            (7, 7),
            (u64::MAX, 0xff),
            (0x1234_5678_9abc_def0, 0xffff_fff1),
            (u64::MAX, u64::MAX - 1),
        ] {
            assert_eq!(of(number, divisor), number % divisor);
        }
    }

    #[test]
    fn what_is_no_key_is_told_without_a_word_of_its_content() {
        assert_eq!(read(b"hunter2").err(), Some(KeyError::NoKey));
        assert_eq!(read(b"").err(), Some(KeyError::NoKey));
        let block = |tag: &str, content: &[u8]| pem::encode(&pem::Pem::new(tag, content.to_vec()));
        let read = |text: String| read(text.as_bytes()).err();
        assert_eq!(read(block("CERTIFICATE", b"x")), Some(KeyError::NoKey));
        assert_eq!(
            read(block("ENCRYPTED PRIVATE KEY", b"x")),
            Some(KeyError::Passphrase)
        );
        for tag in ["OPENSSH PRIVATE KEY", "RSA PRIVATE KEY", "PRIVATE KEY"] {
            let error = read(block(tag, b"hunter2"));
            assert_eq!(error, Some(KeyError::Malformed(tag.to_lowercase())));
        }
        // Its length says more than there is.
        let mut torn = MAGIC.to_vec();
        torn.extend_from_slice(&[0xff; 12]);
        assert!(matches!(
            read(block("OPENSSH PRIVATE KEY", &torn)),
            Some(KeyError::Malformed(_))
        ));
    }
}
