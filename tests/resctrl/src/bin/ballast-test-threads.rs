//! A process of four threads that do nothing until it is killed: tests move it from group to group.
//!
//! Must not know of any group.

use std::thread;

fn main() {
    let park = || loop {
        thread::park();
    };
    let _threads = [(); 3].map(|()| thread::spawn(park));
    park();
}
