//! Layers unpacked side by side against the same one after the other, on random layers.

use stagecraft_layer::{FsTree, LayerReader, LayerWriter, Node, NodeKind, Time, apply_layer};

use super::*;

/// A small generator (xorshift64*), so that a failing seed fails again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit).unwrap()
    }

    fn path(&mut self) -> String {
        let names = ["a", "b", "lib", "usr", "usr/lib", "c"];
        let mut path = names[self.below(6)].to_owned();
        for _ in 0..self.below(3) {
            path = format!("{path}/{}", names[self.below(6)]);
        }
        path
    }

    /// A layer with about `count` random entries that the tree below it accepts.
    fn layer(&mut self, below: &FsTree, count: usize) -> Vec<u8> {
        let mut accepted: Vec<(u64, String, usize, usize)> = Vec::new();
        for _ in 0..count {
            let what = (
                self.below(12) as u64,
                self.path(),
                self.below(5),
                self.below(1000),
            );
            accepted.push(what);
            let archive = write(&accepted);
            let mut tree = below.clone();
            let mut reader = LayerReader::new(&*archive);
            if apply_layer(&mut tree, LayerId(0), &mut reader).is_err() {
                accepted.pop();
            }
        }
        write(&accepted)
    }
}

fn write(entries: &[(u64, String, usize, usize)]) -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new(), Default::default());
    let targets = ["usr/lib", "/usr", "../..", "b", "lib"];
    for (kind, path, choice, number) in entries {
        let path = path.as_bytes();
        let size = [0, 1, 600, 5, 70_000][*choice];
        let mut node = match kind {
            0..=2 => Node::new(NodeKind::Directory, [0o755, 0o700][number % 2], 0, 0),
            3..=6 => Node::new(NodeKind::File { size }, 0o644, [0, 7][number % 2], 0),
            7..=8 => {
                let target = targets[*choice].as_bytes().into();
                Node::new(NodeKind::Symlink { target }, 0o777, 0, 3)
            }
            9 => {
                writer.append_whiteout(path).unwrap();
                continue;
            }
            10 => {
                // An opaque mark is an entry that no whiteout's name could be made of.
                let name = [path, b"/.wh..opq"].concat();
                writer.append_whiteout(&name).unwrap();
                continue;
            }
            _ => {
                let node = Node::new(NodeKind::File { size: 0 }, 0o644, 0, 0);
                writer
                    .append_link(path, &node, targets[*choice].as_bytes())
                    .unwrap();
                continue;
            }
        };
        node.mtime = Time {
            seconds: i64::try_from(*number).unwrap(),
            nanoseconds: 0,
        };
        let byte = u8::try_from(number % 256).unwrap();
        writer
            .append(path, &node, &mut std::io::repeat(byte).take(node.size()))
            .unwrap();
    }
    writer.finish().unwrap().0
}

fn contents(fixture: &Fixture) -> Vec<(Vec<u8>, Vec<u8>)> {
    let files = fixture.tree.iter().filter(|(_, node)| node.is_file());
    files
        .map(|(path, _)| {
            let mut bytes = Vec::new();
            fixture
                .rootfs
                .open_file(path)
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            (path.to_vec(), bytes)
        })
        .collect()
}

#[test]
fn layers_side_by_side_give_what_layers_one_after_the_other_give() {
    let mut entries = 0;
    for seed in 1..60 {
        let mut random = Random(seed * 0x9e37_79b9);
        let mut pure = FsTree::new();
        let mut layers = Vec::new();
        for number in 1..=4 {
            let archive = random.layer(&pure, 14);
            apply_layer(&mut pure, LayerId(number), &mut LayerReader::new(&*archive)).unwrap();
            layers.push((LayerId(number), archive));
        }
        let mut sequential = Fixture::new();
        for (layer, archive) in &layers {
            sequential
                .rootfs
                .unpack(&mut sequential.tree, *layer, &**archive)
                .unwrap();
        }
        assert_eq!(sequential.tree, pure, "seed {seed}");
        sequential.assert_disk_is_the_tree();
        entries += sequential.tree.len();

        let mut parallel = Fixture::new();
        let archives = layers
            .iter()
            .map(|(layer, archive)| (*layer, &**archive))
            .collect();
        parallel
            .rootfs
            .unpack_all(&mut parallel.tree, archives, 3)
            .unwrap();
        assert_eq!(parallel.tree, pure, "seed {seed}");
        parallel.assert_disk_is_the_tree();
        assert!(contents(&sequential) == contents(&parallel), "seed {seed}");
        parallel.begin();
        assert_eq!(parallel.changes(), "");
    }
    assert!(
        entries > 300,
        "only {entries} entries: the layers are too dull"
    );
}

#[test]
fn an_upper_link_does_not_redirect_what_a_lower_layer_wrote() {
    let lower = layer_of("d 0755 0:0 - lib mtime=5\nf 0644 0:0 3 lib/x mtime=5");
    let upper = layer_of("l 0777 0:0 - lib -> usr mtime=5\nd 0755 0:0 - usr mtime=5");
    let top = write(&[(3, "lib/y".to_owned(), 1, 5)]);
    let mut fixture = Fixture::new();
    let layers = vec![
        (LayerId(1), &*lower),
        (LayerId(2), &*upper),
        (LayerId(3), &*top),
    ];
    fixture
        .rootfs
        .unpack_all(&mut fixture.tree, layers, 3)
        .unwrap();
    fixture.assert_disk_is_the_tree();
    assert_eq!(
        fixture.tree.to_text(),
        "l 0777 0:0 - lib -> usr\nd 0755 0:0 - usr\nf 0644 7:0 1 usr/y\n"
    );
}

#[test]
fn a_broken_layer_among_good_ones_is_an_error() {
    let good = layer_of("f 0644 0:0 3 x");
    let layers = vec![
        (LayerId(1), &*good),
        (LayerId(2), &good[..700]),
        (LayerId(3), &*good),
    ];
    let mut fixture = Fixture::new();
    assert!(
        fixture
            .rootfs
            .unpack_all(&mut fixture.tree, layers, 2)
            .is_err()
    );
}
