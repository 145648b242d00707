//! Compiles shim.c against the headers that `python3 -m shmtelemetry --cflags` says, or SHMTEL_CFLAGS.
use std::{env, path::Path, process::Command};

fn flags() -> String {
    println!("cargo:rerun-if-env-changed=SHMTEL_CFLAGS");
    env::var("SHMTEL_CFLAGS").unwrap_or_else(|_| {
        let said = Command::new("python3").args(["-m", "shmtelemetry", "--cflags"]).output();
        String::from_utf8(said.expect("python3 is needed, or SHMTEL_CFLAGS").stdout).unwrap()
    })
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

fn main() {
    println!("cargo:rerun-if-changed=src/shim.c");
    let folder = env::var("OUT_DIR").unwrap();
    let object = Path::new(&folder).join("shim.o");
    let library = Path::new(&folder).join("libshim.a");
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".into());
    let flags = flags();
    run(Command::new(compiler)
        .args(["-std=c11", "-O2", "-fPIC", "-c", "src/shim.c", "-o"])
        .arg(&object)
        .args(flags.split_whitespace()));
    run(Command::new("ar").arg("crs").arg(&library).arg(&object));
    println!("cargo:rustc-link-search=native={folder}");
    println!("cargo:rustc-link-lib=static=shim");
}
