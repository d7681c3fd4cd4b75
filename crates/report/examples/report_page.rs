//! Writes a page to look at: `report_page OUT.html [RESULTS.json] [PICTURE.png …]`, of made-up results if there are none.

#[path = "../tests/fixture/mod.rs"]
mod fixture;

use paragone_report::{Results, html};
use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1).peekable();
    let out =
        arguments.next().ok_or("usage: report_page OUT.html [RESULTS.json] [PICTURE.png …]")?;
    let results: Results = match arguments.next_if(|argument| argument.ends_with(".json")) {
        Some(path) => serde_json::from_str(&fs::read_to_string(path)?)?,
        None => fixture::results(),
    };
    let mut pictures = arguments
        .map(|path| Ok(image::open(path)?.to_rgb8()))
        .collect::<Result<Vec<_>, image::ImageError>>()?;
    if pictures.is_empty() {
        pictures = vec![fixture::picture(); 4];
    }
    fs::write(out, html(&fixture::page(&results, pictures))?)?;
    Ok(())
}
