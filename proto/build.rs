//! Compiles the `.proto` files with protox, so no `protoc` is needed.

use std::{env, fs, path::Path};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=koinon");
    let files = protox::compile(
        [
            "koinon/agent/v1/enrolment.proto",
            "koinon/agent/v1/session.proto",
        ],
        ["."],
    )?;
    let descriptor = Path::new(&env::var("OUT_DIR")?).join("descriptor.bin");
    fs::write(descriptor, files.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .codec_path("crate::codec::SmallCodec")
        .compile_fds(files)?;
    Ok(())
}
