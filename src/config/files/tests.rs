use super::*;

#[test]
fn what_was_touched_and_holds_the_same_is_not_read_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, next) = (folder.path().join("file"), folder.path().join("next"));
    let put = |text| fs::write(&next, text).and_then(|()| fs::rename(&next, &path)).expect("a file");
    put("one");
    let mut files = Files::default();
    assert_eq!(files.bytes(&path).expect("it is there"), b"one");
    let mut state = || (files.were_touched(), files.have_changed(), files.were_touched());
    assert_eq!(state(), (false, false, false));
    put("one");
    assert_eq!(state(), (true, false, false));
    put("two");
    assert_eq!(state(), (true, true, true));
    put("one");
    assert_eq!(state(), (true, false, false));
}
