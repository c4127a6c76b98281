//! What is measured: each load is a shell script that works below `/var/tmp/bench`.

/// A load and the ratio that it may cost.
pub(super) struct Load {
    pub(super) name: &'static str,
    /// Before the clock starts.
    before: &'static str,
    script: &'static str,
    /// The highest ratio to the native time that is aimed at.
    pub(super) bar: f64,
}

/// All of them.
pub(super) const LOADS: &[Load] = &[
    Load {
        name: "fork-exec",
        before: "",
        script: "i=0; while [ $i -lt 1000 ]; do /bin/true; i=$((i+1)); done",
        bar: 1.25,
    },
    Load {
        name: "find",
        before: "find / -xdev > /dev/null",
        script: "find / -xdev -printf '%p %u %g %m %s\\n' > /dev/null",
        bar: 4.0,
    },
    Load {
        name: "tar",
        before: "cat $(find /usr -xdev -type f) > /dev/null",
        script: "tar -cf usr.tar -C / usr",
        bar: 2.0,
    },
    Load {
        name: "cp -a",
        before: "",
        script: "cp -a /usr/share usr",
        bar: 2.0,
    },
    Load {
        name: "gcc",
        before: "i=0; echo '#include <stdlib.h>' > x.c; while [ $i -lt 200 ]; do i=$((i+1))
            echo \"int f$i(int x) { return rand() % (x + $i) + abs(x * $i); }\"; done >> x.c",
        script: "i=0; while [ $i -lt 20 ]; do gcc -O2 -c x.c -o x$i.o; i=$((i+1)); done",
        bar: 1.03,
    },
    Load {
        name: "small files",
        before: "",
        script: "i=0; while [ $i -lt 100 ]; do i=$((i+1)); mkdir -p d/$i; cd d/$i
            j=0; while [ $j -lt 50 ]; do j=$((j+1)); echo text > $j; done; cd ../..; done",
        bar: 1.5,
    },
];

impl Load {
    /// The script that prints, last, the nanoseconds that the load took.
    pub(super) fn timed(&self) -> String {
        let Self { before, script, .. } = self;
        format!(
            "mkdir -p /var/tmp/bench; cd /var/tmp/bench; rm -rf ./*; {before}\n\
             start=$(date +%s%N); {script}\n\
             end=$(date +%s%N); cd /; rm -rf /var/tmp/bench; echo $((end - start))"
        )
    }
}
