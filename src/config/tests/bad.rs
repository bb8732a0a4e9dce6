use super::*;
pub(super) fn outcome(text: &str) -> Vec<String> {
    let text = text.replace("@connectors\n", CONNECTORS).replace("@routes\n", ROUTES);
    parsed(&text).err().unwrap_or_default()
}
