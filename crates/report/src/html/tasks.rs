//! Filling holes and editing.

use super::{context::Context, figure::Plotted, markup::paragraph};
use crate::{
    Baseline, EditPoint, EditingScores, HoleScores, InpaintingScores, ModelRow, SeedGroup,
    plot::{Axis, Ink, Item, Look, Plot},
    table::{Better, Cell, Column, Table, TableRow},
    tasks::{BACKGROUND_ERROR, Chosen, EDIT_SCORES, HOLE_SCORES, NETWORK_CALLS, SECONDS},
};
use std::collections::BTreeSet;

/// Scores of a task by model and, below, of what they are compared with.
struct TaskTable<'a> {
    models: Vec<SeedGroup<'a>>,
    baselines: Vec<&'a Baseline>,
    table: Table,
}

impl<'a> TaskTable<'a> {
    fn new(models: Vec<SeedGroup<'a>>, baselines: Vec<&'a Baseline>) -> Self {
        let row = |cell: String, ranked| TableRow { cells: vec![Cell::Text(cell)], ranked };
        let rows = models.iter().map(|group| row(group.counted_title(), true));
        let rows = rows.chain(baselines.iter().map(|baseline| row(baseline.name.clone(), false)));
        let names = Column { name: "model".to_owned(), better: Better::None };
        let table = Table { rows: rows.collect(), columns: vec![names] };
        Self { models, baselines, table }
    }

    fn column(
        &mut self,
        name: &str,
        better: Better,
        model: impl Fn(&ModelRow) -> Cell,
        baseline: impl Fn(&Baseline) -> Cell,
    ) {
        let models = self.models.iter().map(|group| group.cell(&model));
        let cells = models.chain(self.baselines.iter().map(|row| baseline(row)));
        let cells: Vec<Cell> = cells.collect();
        self.table.columns.push(Column { name: name.to_owned(), better });
        self.table.rows.iter_mut().zip(cells).for_each(|(row, cell)| row.cells.push(cell));
    }
}

/// How well holes are filled: a table for each kind of mask and track; `None` where none were.
pub fn inpainting(context: &Context<'_>) -> Option<String> {
    fn of(row: &ModelRow) -> Option<&InpaintingScores> {
        row.inpainting.as_ref()
    }
    let scored = || context.results.rows.iter().filter_map(|row| row.inpainting.as_ref());
    scored().next()?;
    let mut html = paragraph(
        "Test images with a part hidden, completed. PSNR (of all holes together) and SSIM compare the hole with what was there, \
         which one of many good completions need not resemble, though their mean, the best guess of the pixels, comes as near as can be; diversity is how much completions by different seeds differ there. Possible: the share that agree with one \
         scene that training may show, in the known pixels (up to the data's noise) and, within a tolerance, in the hole, where scenes are \
         known. Models whose training \
         showed known pixels and models that only learnt to generate are in tables of their own.",
    );
    let tracks: BTreeSet<&str> = scored().map(|scores| scores.track.as_str()).collect();
    let masks: BTreeSet<&String> = scored().flat_map(|scores| scores.masks.keys()).collect();
    for track in &tracks {
        let groups = || {
            let mut groups = context.results.seed_groups();
            groups.retain(|group| {
                group.rows.iter().any(|row| of(row).is_some_and(|scores| scores.track == *track))
            });
            groups
        };
        let mut methods = TaskTable::new(groups(), Vec::new());
        let method = |scores: &InpaintingScores| Cell::Text(scores.method.clone());
        let number = |of: fn(&InpaintingScores) -> f64| {
            move |row: &ModelRow| match &row.inpainting {
                Some(scores) if !scores.masks.is_empty() => Cell::number(of(scores)),
                Some(scores) => Cell::missing(scores.method.clone()),
                None => Cell::missing("filled no holes"),
            }
        };
        let none = |_: &Baseline| Cell::Text(String::new());
        let text = |row: &ModelRow| of(row).map_or(Cell::missing("filled no holes"), method);
        methods.column("holes are filled by", Better::None, text, none);
        methods.column("network calls", Better::None, calls(of, |s| s.network_calls), none);
        methods.column("s/image", Better::Lower, number(|s| s.seconds_per_image), none);
        html += &context.render(
            &methods.table,
            &format!("inpainting-{track}"),
            &format!("How holes are filled, {track}"),
            &[],
        );
        for mask in &masks {
            let baselines = context.results.baselines.iter();
            let baselines = baselines.filter(|baseline| baseline.inpainting.is_some()).collect();
            let mut table = TaskTable::new(groups(), baselines);
            let holes = |scores: &Option<InpaintingScores>| -> Option<HoleScores> {
                scores.as_ref()?.masks.get(*mask).cloned()
            };
            for (_, name, better, score) in HOLE_SCORES {
                let cell = |scores: &Option<InpaintingScores>| match holes(scores)
                    .map(|holes| score(&holes))
                {
                    Some(Some(value)) => Cell::number(value),
                    Some(None) => Cell::missing("does not apply"),
                    None => Cell::missing("filled no such holes"),
                };
                let baseline = |row: &Baseline| cell(&row.inpainting);
                table.column(name, better, |row| cell(&row.inpainting), baseline);
            }
            let shown = scored().filter_map(|scores| scores.masks.get(*mask));
            let shown = *track == "trained" && shown.clone().any(|holes| holes.shown_in_training);
            let held_out =
                if *track == "trained" && !shown { ", never shown in training" } else { "" };
            html += &context.render(
                &table.table,
                &format!("inpainting-{track}-{mask}"),
                &format!("Holes: {mask}{held_out}, {track}"),
                &[],
            );
        }
    }
    Some(html)
}

/// A count of network calls as text.
fn calls<S>(of: fn(&ModelRow) -> Option<&S>, count: fn(&S) -> u64) -> impl Fn(&ModelRow) -> Cell {
    move |row| Cell::Text(of(row).map_or_else(String::new, |scores| count(scores).to_string()))
}

/// Kinds of edits that any model made.
fn kinds<'a>(context: &Context<'a>) -> BTreeSet<&'a String> {
    let scored = context.results.rows.iter().filter_map(|row| row.editing.as_ref());
    scored.flat_map(|scores| scores.edits.keys()).collect()
}

/// How well pictures are edited: a table for each kind of edit; `None` where none were.
pub fn editing(context: &Context<'_>) -> Option<String> {
    fn of(row: &ModelRow) -> Option<&EditingScores> {
        row.editing.as_ref()
    }
    context.results.rows.iter().find_map(of)?;
    let mut html = paragraph(&format!(
        "Pictures of which one thing is to be changed, and what becomes of them. Changed: the share that shows what was asked for; kept: \
         the share that shows all else as before, as far as it has a name (a lone object may have moved); both: the share of which both is \
         true; object count: the share with as many objects as asked, where one is to go or to come. A stronger edit changes more and keeps \
         less, so models are compared where pixels that the true edit leaves alone differ by {BACKGROUND_ERROR} of 255 levels on average; \
         a model that errs less at any strength stands with its strongest edit. With a mask only pixels near the change are free, and \
         the best strength for both counts."
    ));
    let number = |of: fn(&EditingScores) -> f64| {
        move |row: &ModelRow| match &row.editing {
            Some(scores) if !scores.edits.is_empty() => Cell::number(of(scores)),
            Some(scores) => Cell::missing(scores.method.clone()),
            None => Cell::missing("edited nothing"),
        }
    };
    let none = |_: &Baseline| Cell::Text(String::new());
    let mut methods = TaskTable::new(context.results.seed_groups(), Vec::new());
    let text = |row: &ModelRow| {
        of(row).map_or(Cell::missing("edited nothing"), |scores| Cell::Text(scores.method.clone()))
    };
    methods.column("edits are made by", Better::None, text, none);
    methods.column("network calls", Better::None, calls(of, |s| s.network_calls), none);
    methods.column("s/image", Better::Lower, number(|s| s.seconds_per_image), none);
    html += &context.render(&methods.table, "editing", "How edits are made", &[]);
    for kind in kinds(context) {
        let baselines = context.results.baselines.iter();
        let baselines = baselines.filter(|baseline| baseline.editing.is_some()).collect();
        let mut table = TaskTable::new(context.results.seed_groups(), baselines);
        let some = |column: fn(&EditPoint) -> Option<f64>| {
            let scored = context.results.rows.iter().filter_map(of);
            let points = scored.filter_map(|scores| scores.edits.get(kind)).flatten();
            points.filter_map(column).next().is_some()
        };
        // Changed, kept, both: the rest is said once, of the edit that models are compared by.
        let shares = &EDIT_SCORES[..3];
        let columns = [
            (Chosen::AtError, "", EDIT_SCORES.as_slice()),
            (Chosen::Masked, ", masked", shares),
            (Chosen::New, ", new image", shares),
        ];
        for (chosen, name, scores) in columns {
            for &(key, head, better, score) in scores.iter().filter(|(.., score)| some(*score)) {
                let cell = |point: Option<EditPoint>| match point.map(|point| score(&point)) {
                    // Counts have no digits after the point.
                    Some(Some(count)) if key == NETWORK_CALLS => Cell::Text(count.to_string()),
                    Some(Some(value)) => Cell::number(value),
                    Some(None) => Cell::Text(String::new()),
                    None => Cell::missing("every edit of it errs more, or it makes none"),
                };
                let model =
                    |row: &ModelRow| cell(of(row).and_then(|scores| scores.of(kind, chosen)));
                let baseline = |row: &Baseline| {
                    let points = row.editing.as_ref().and_then(|scores| scores.edits.get(kind));
                    match points.and_then(|points| points.first()) {
                        // It costs nothing, and stands for no edit but the one without a mask.
                        Some(_) if chosen != Chosen::AtError => Cell::Text(String::new()),
                        Some(_) if [NETWORK_CALLS, SECONDS].contains(&key) => {
                            Cell::Text(String::new())
                        }
                        point => cell(point.copied()),
                    }
                };
                table.column(&format!("{head}{name}"), better, model, baseline);
            }
        }
        let title = format!("Edits: {kind}");
        html += &context.render(&table.table, &format!("editing-{kind}"), &title, &[]);
    }
    Some(html)
}

/// Change against preservation over strengths, a plot for each kind of edit.
pub fn editing_plots<'a>(context: &Context<'a>) -> Vec<Plotted<'a>> {
    kinds(context).into_iter().filter_map(|kind| editing_plot(context, kind)).collect()
}

fn editing_plot<'a>(context: &Context<'a>, kind: &str) -> Option<Plotted<'a>> {
    let mut items = Vec::new();
    for (model, row) in context.rows() {
        let Some(points) = row.editing.as_ref().and_then(|scores| scores.edits.get(kind)) else {
            continue;
        };
        let mut free: Vec<&EditPoint> =
            points.iter().filter(|point| point.strength.is_some() && !point.masked).collect();
        free.sort_by(|a, b| a.strength.partial_cmp(&b.strength).expect("strengths are numbers"));
        let at = |point: &EditPoint| (point.kept, point.changed);
        items.push(Item::Line {
            ink: Ink::Model(model),
            points: free.iter().map(|point| at(point)).collect(),
            faint: false,
        });
        for (i, point) in free.iter().enumerate() {
            let look = if i + 1 == free.len() { Look::Ringed } else { Look::Small };
            items.push(Item::Mark { model, at: at(point), look });
        }
    }
    let whole = [0.0, 1.0];
    Some(Plotted {
        plot: Plot {
            title: format!("Change against preservation: {kind}"),
            x: Axis::linear("all else kept", whole.into_iter())?,
            y: Axis::linear("asked change made", whole.into_iter())?,
            rulers: Vec::new(),
            items,
            height: 1.0,
        },
        models: context.legend(),
        caption: "Up and to the right is better. Each line is one model over its strengths, ringed at the strongest; the picture left as \
                  it was is at the lower right."
            .to_owned(),
    })
}
