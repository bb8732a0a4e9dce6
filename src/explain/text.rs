//! An explanation for people: lines in columns. Of many routes only those are named that the channel fits, unless all are asked for.

use super::{Asked, Explanation, FAILS, Fate, MATCHES, NOT_ASKED, OTHER_CHANNEL, Place, REFUSES};

impl Explanation {
    /// For people; with `all` routes, also those of other channels and those that are not asked.
    #[must_use]
    pub fn text(&self, all: bool) -> String {
        self.fates().iter().map(|fate| fate.text(all)).collect::<Vec<_>>().join("\n\n")
    }
}

impl Fate {
    fn text(&self, all: bool) -> String {
        let mut paragraphs = vec![self.heading()];
        if self.event.is_some() {
            paragraphs.push(self.told_routes(all));
        }
        if let Some(rejected) = &self.rejected {
            paragraphs.push(format!("rejected ({}): {}", rejected.reason, rejected.detail));
        }
        if !self.destinations.is_empty() {
            let mut lines = vec!["destinations".to_owned()];
            lines.extend(columns(self.destinations.iter().map(Place::row).collect()));
            paragraphs.push(lines.join("\n"));
        }
        paragraphs.extend(self.mqtt.as_ref().map(|answered| answered.text(self.is_rejected())));
        paragraphs.join("\n\n")
    }

    fn heading(&self) -> String {
        let event = match &self.event {
            Some(about) => format!("event {:?} of type {:?} from {:?}", about.id, about.kind, about.source),
            None => "an event that cannot be read".to_owned(),
        };
        let wrapped = if self.wrapped { " (no CloudEvent: wrapped)" } else { "" };
        format!("{event}{wrapped} to channel {:?}", self.channel)
    }

    fn told_routes(&self, all: bool) -> String {
        let named = self.routes.iter().filter(|route| all || ![OTHER_CHANNEL, NOT_ASKED].contains(&route.verdict));
        let mut lines = vec!["routes".to_owned()];
        lines.extend(columns(named.map(|route| route.row(self.is_rejected())).collect()));
        for (verdict, what) in [(OTHER_CHANNEL, "for other channels"), (NOT_ASKED, "after that, not asked")] {
            match self.routes.iter().filter(|route| !all && route.verdict == verdict).count() {
                0 => {}
                1 => lines.push(format!("  1 more {what} (--all names it)")),
                count => lines.push(format!("  {count} more {what} (--all names them)")),
            }
        }
        lines.join("\n")
    }
}

impl Asked {
    fn row(&self, rejected: bool) -> Vec<String> {
        let verdict = match self.verdict {
            MATCHES if rejected => "matches",
            MATCHES if self.tap => "gets a copy",
            MATCHES => "takes it",
            REFUSES => "no:",
            FAILS => "matches, but its `wrap` makes no valid event",
            OTHER_CHANNEL => "no: its pattern does not match the channel",
            other => other,
        };
        let detail = self.detail.as_deref().unwrap_or_default();
        vec![self.name.to_string(), self.channel.clone(), format!("{verdict} {detail}").trim_end().to_owned()]
    }
}

impl Place {
    fn row(&self) -> Vec<String> {
        let key = self.key.as_ref().map_or("no key".to_owned(), |key| format!("key {key:?}"));
        let required = if self.required { "" } else { "not required" };
        let topic = format!("topic {:?}", self.topic);
        vec![self.route.to_string(), self.connector.clone(), topic, key, required.to_owned()]
    }
}

/// Rows as indented lines, their cells under one another.
fn columns(rows: Vec<Vec<String>>) -> impl Iterator<Item = String> {
    let cells = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |cell: usize| rows.iter().filter_map(|row| row.get(cell)).map(|text| text.chars().count()).max();
    let widths: Vec<usize> = (0..cells).filter_map(width).collect();
    rows.into_iter().map(move |row| {
        let padded: String = row.iter().zip(&widths).map(|(text, width)| format!("  {text:width$}")).collect();
        padded.trim_end().to_owned()
    })
}
