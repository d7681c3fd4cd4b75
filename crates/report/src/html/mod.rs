//! One page of everything that a comparison found out: a single HTML file without anything outside of it.
//!
//! It is XML as well, readable without its script (which enlarges figures), and the same for the same results.

mod captions;
mod classes;
mod context;
mod cost;
mod distances;
mod features;
mod figure;
mod frontiers;
mod learning;
mod levels;
mod likelihood;
mod limits;
mod markup;
mod meanings;
mod memorization;
mod protocol;
mod scores;
mod table;
mod tasks;
mod truth;

pub(crate) use markup::escaped;

use crate::{ReportError, Results};
use context::Context;
use figure::{Figures, Plotted};
use image::RgbImage;
use markup::{list, paragraph};
use std::fmt::Write;

/// What goes onto the page.
#[derive(Debug)]
pub struct Page<'a> {
    /// Its head.
    pub title: String,
    /// The command that makes everything on it again.
    pub command: String,
    /// Every score.
    pub results: &'a Results,
    /// What was compared and how, a sentence or two each: the budget, the data, the machine.
    pub notes: Vec<String>,
    /// How losses went. Curves of models that have no row are left out.
    pub learning: Vec<LearningCurve>,
    /// Pictures, in their order within each section.
    pub figures: Vec<Figure>,
}

/// One logged number of one training.
#[derive(Debug, Clone, PartialEq)]
pub struct LearningCurve {
    /// The run of the model's row.
    pub run: Option<String>,
    /// The model of the row.
    pub model: String,
    /// What was logged, with its unit.
    pub scalar: String,
    /// Images seen, and the value.
    pub points: Vec<(u64, f64)>,
}

/// A picture.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Where it goes.
    pub section: Section,
    /// Its head.
    pub title: String,
    /// What to see in it.
    pub caption: String,
    /// The command that makes it again.
    pub command: String,
    /// The picture.
    pub picture: RgbImage,
    /// The file that it is written to beside the page: of a picture that all models are in.
    pub file: Option<&'static str>,
}

/// Sections that hold pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// All models under the same conditions and seeds.
    Grids,
    /// Holes and their completions.
    Inpainting,
    /// Pictures before and after edits.
    Editing,
    /// Test images beside what a model makes of them.
    Reconstructions,
    /// Images on their way.
    FilmStrips,
    /// Samples beside the training images next to them.
    NearestNeighbours,
}

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The page.
///
/// # Errors
/// [`ReportError::Picture`] for a picture that has no PNG; [`ReportError::Plot`] if the plotting library fails.
pub fn html(page: &Page<'_>) -> Result<String, ReportError> {
    let titles: Vec<String> =
        page.results.seed_groups().into_iter().map(|group| group.title).collect();
    let context = Context::new(page.results, &titles);
    let sections = Sections { page, context: &context, figures: Figures::default() }.all()?;
    let (mut nav, mut body) = (String::new(), String::new());
    for (title, content) in sections {
        let (id, title) = (markup::identifier(title), escaped(title));
        let _ = writeln!(nav, "<a href=\"#section-{id}\">{title}</a>");
        let _ =
            write!(body, "<section id=\"section-{id}\">\n<h2>{title}</h2>\n{content}</section>\n");
    }
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\" />\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />\n\
         <meta name=\"color-scheme\" content=\"light dark\" />\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'\" />\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>{title}</h1>\n<p class=\"command\"><span>Made by</span> <code>{command}</code></p>\n\
         <nav aria-label=\"Sections\">\n{nav}</nav>\n</header>\n<main>\n{body}</main>\n\
         <dialog id=\"enlarged\" aria-label=\"Enlarged figure\">\n<form method=\"dialog\"><button>Close</button></form>\n\
         <div></div>\n</dialog>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        title = escaped(&page.title),
        command = escaped(&page.command),
    ))
}

/// The page's sections being written.
struct Sections<'p, 'a> {
    page: &'p Page<'a>,
    context: &'p Context<'p>,
    figures: Figures,
}

type Written = Vec<(&'static str, String)>;

impl Sections<'_, '_> {
    fn all(mut self) -> Result<Written, ReportError> {
        let context = self.context;
        let mut written: Written = vec![
            ("What was compared", list(&self.page.notes) + &scores::models(context)),
            (
                "Scores",
                scores::table(context)
                    + "<h3>What this says, and what it does not</h3>\n"
                    + &limits::limits(context),
            ),
        ];
        let mut put = |title: &'static str, content: String| {
            if !content.is_empty() {
                written.push((title, content));
            }
        };
        put("Captions", captions::tables(context).unwrap_or_default());
        put(
            "In-painting",
            self.pictures(Section::Inpainting)? + &tasks::inpainting(context).unwrap_or_default(),
        );
        let curves = self.plots("", tasks::editing_plots(context))?;
        let edited = self.pictures(Section::Editing)?;
        put("Editing", edited + &tasks::editing(context).unwrap_or_default() + &curves);
        put("Against the known distribution", truth::table(context).unwrap_or_default());
        put("Same condition, same seed", self.pictures(Section::Grids)?);
        put("Cost", cost::table(context));
        put("Quality against training", self.plots("", distances::training(context))?);
        put("Quality against sampling", self.plots("", distances::sampling(context))?);
        let frontiers = self.plots(
            "Rows of the table use no quality knob. These are the same models with one.",
            frontiers::plots(context),
        )?;
        put("Fidelity and diversity", frontiers + &self.lacking_knobs());
        let classes = self.plots("", classes::plot(context).into_iter().collect())?;
        put("Classes", classes + &classes::table(context).unwrap_or_default());
        let features = self.plots("", features::plot(context).into_iter().collect())?;
        put("Other features", features + &features::table(context).unwrap_or_default());
        put("Likelihood", likelihood::table(context).unwrap_or_default());
        let learning = learning::plots(context, &self.page.learning);
        let learning = self.plots(
            "Each model has a loss of its own: heights do not compare between models, only courses do. Lines are means of \
             neighbouring values, bands their ranges.",
            learning,
        )?;
        put("Learning curves", learning);
        let nearest = self.pictures(Section::NearestNeighbours)?;
        let memorization = memorization::table(context).unwrap_or_default();
        put("Memorization", memorization + &nearest);
        put("Reconstructions", self.pictures(Section::Reconstructions)?);
        put("Film strips", self.pictures(Section::FilmStrips)?);
        put("Protocol", protocol::tables(context));
        Ok(written)
    }

    fn pictures(&mut self, section: Section) -> Result<String, ReportError> {
        let mut html = String::new();
        for figure in self.page.figures.iter().filter(|figure| figure.section == section) {
            let Figure { picture, title, caption, command, .. } = figure;
            html += &self.figures.picture(picture, title, caption, command)?;
        }
        Ok(html)
    }

    /// Plots below a word about them all.
    fn plots(&mut self, about: &str, plots: Vec<Plotted<'_>>) -> Result<String, ReportError> {
        if plots.is_empty() {
            return Ok(String::new());
        }
        let mut html = if about.is_empty() { String::new() } else { paragraph(about) };
        let columns = ["one", "two", "three", "four"].get(plots.len() - 1).unwrap_or(&"many");
        let _ = writeln!(html, "<div class=\"plots {columns}\">");
        for plot in &plots {
            html += &self.figures.plot(plot, &self.page.command)?;
        }
        Ok(html + "</div>\n")
    }

    /// Why models have no knob.
    fn lacking_knobs(&self) -> String {
        let lacks =
            self.context.groups.iter().zip(self.context.titles).flat_map(|(group, title)| {
                let lacks = group.rows[0].curves.lacks.iter();
                lacks.map(move |(knob, reason)| {
                    let text = format!("{title}, {}: {reason}", knob.replace('_', " "));
                    format!("<li>— {}</li>\n", escaped(&text))
                })
            });
        let items: String = lacks.collect();
        if items.is_empty() { items } else { format!("<ul class=\"reasons\">\n{items}</ul>\n") }
    }
}
