//! Pictures and plots, each with what it shows and the command that makes it again.

use super::markup::escaped;
use crate::{
    ReportError,
    plot::{Plot, swatch},
    png::encode,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use image::RgbImage;

/// Figures of a page, numbered in their order.
#[derive(Debug, Default)]
pub struct Figures {
    count: usize,
}

/// A plot with its legend and its words.
#[derive(Debug)]
pub struct Plotted<'a> {
    /// The plot; its title is the figure's.
    pub plot: Plot,
    /// Places and names of the models on it.
    pub models: Vec<(usize, &'a str)>,
    /// What to see in it.
    pub caption: String,
}

impl Figures {
    /// A picture.
    pub fn picture(
        &mut self,
        picture: &RgbImage,
        title: &str,
        caption: &str,
        command: &str,
    ) -> Result<String, ReportError> {
        let bytes = encode(picture)
            .map_err(|reason| ReportError::Picture { title: title.to_owned(), reason })?;
        let (width, height) = picture.dimensions();
        let image = format!(
            "<img src=\"data:image/png;base64,{}\" width=\"{width}\" height=\"{height}\" alt=\"{}\" />",
            STANDARD.encode(bytes),
            escaped(if caption.is_empty() { title } else { caption }),
        );
        Ok(self.figure("picture", title, &image, "", caption, command))
    }

    /// A plot.
    pub fn plot(&mut self, plotted: &Plotted<'_>, command: &str) -> Result<String, ReportError> {
        let Plotted { plot, models, caption } = plotted;
        let item =
            |(model, name): &(usize, &str)| format!("<li>{}{}</li>", swatch(*model), escaped(name));
        let legend: String = models.iter().map(item).collect();
        let legend = if models.is_empty() {
            legend
        } else {
            format!("<ul class=\"legend\">{legend}</ul>\n")
        };
        Ok(self.figure("plot", &plot.title, &plot.svg()?, &legend, caption, command))
    }

    fn figure(
        &mut self,
        class: &str,
        title: &str,
        shown: &str,
        legend: &str,
        caption: &str,
        command: &str,
    ) -> String {
        self.count += 1;
        let number = self.count;
        let caption =
            if caption.is_empty() { String::new() } else { format!("<p>{}</p>", escaped(caption)) };
        format!(
            "<figure id=\"figure-{number}\" class=\"{class}\">\n<h3>{title}</h3>\n{legend}\
             <a class=\"enlarge\" href=\"#figure-{number}\" title=\"Enlarge\">{shown}</a>\n\
             <figcaption>{caption}<p class=\"command\"><span>Made by</span> <code>{command}</code></p></figcaption>\n\
             </figure>\n",
            title = escaped(title),
            command = escaped(command),
        )
    }
}
