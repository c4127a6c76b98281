use super::*;

fn root() -> Credentials {
    Credentials::new(0, 0, vec![0])
}

#[test]
fn a_program_that_drops_its_user_for_good_does_not_come_back() {
    let mut who = root();
    who.set_groups(vec![]).unwrap();
    who.change(Kind::Group, Change::Three([65534; 3])).unwrap();
    who.change(Kind::User, Change::Three([100; 3])).unwrap();
    assert_eq!(who.capabilities.permitted, 0);
    for change in [
        Change::One(0),
        Change::Two(KEEP, 0),
        Change::Three([KEEP, 0, KEEP]),
    ] {
        assert_eq!(
            who.change(Kind::User, change),
            Err(NotPermitted),
            "{change:?}"
        );
        assert_eq!(
            who.change(Kind::Group, change),
            Err(NotPermitted),
            "{change:?}"
        );
    }
    assert_eq!(who.set_groups(vec![0]), Err(NotPermitted));
    assert_eq!((who.user.file, who.group.file), (100, 65534));
}

#[test]
fn a_saved_id_is_the_way_back() {
    let mut who = root();
    who.change(Kind::User, Change::Three([KEEP, 100, KEEP]))
        .unwrap();
    assert_eq!(
        (who.user.real, who.user.effective, who.user.saved),
        (0, 100, 0)
    );
    assert!(
        !who.can(capability::CHOWN),
        "the effective set follows the effective user"
    );
    assert_eq!(who.change(Kind::User, Change::One(7)), Err(NotPermitted));
    // setuid of an unprivileged process changes the effective id alone.
    assert_eq!(who.change(Kind::User, Change::One(0)), Ok(()));
    assert!(who.can(capability::CHOWN));
}

#[test]
fn the_saved_id_follows_when_the_real_one_changes() {
    let mut who = root();
    who.change(Kind::User, Change::Two(KEEP, 5)).unwrap();
    assert_eq!(who.user.saved, 5);
    let mut who = root();
    who.change(Kind::User, Change::Two(KEEP, 0)).unwrap();
    assert_eq!(who.user.saved, 0);
    let mut who = Credentials::new(10, 10, vec![]);
    who.user = Ids {
        real: 10,
        effective: 20,
        saved: 30,
        file: 20,
    };
    // An unprivileged real id can become the real or the effective one, never the saved one.
    assert_eq!(
        who.change(Kind::User, Change::Two(30, KEEP)),
        Err(NotPermitted)
    );
    assert_eq!(who.change(Kind::User, Change::Two(20, 10)), Ok(()));
    assert_eq!(
        (who.user.real, who.user.effective, who.user.saved),
        (20, 10, 10)
    );
}

#[test]
fn file_ids_follow_the_effective_ones_and_can_differ() {
    let mut who = root();
    who.change(Kind::User, Change::File(7)).unwrap();
    assert_eq!(who.user.file, 7);
    assert!(!who.can(capability::CHOWN) && who.can(capability::SETUID));
    who.change(Kind::User, Change::File(0)).unwrap();
    assert!(who.can(capability::CHOWN));
    who.change(Kind::User, Change::One(9)).unwrap();
    assert_eq!(who.user.file, 9);
    who.change(Kind::User, Change::File(0)).unwrap();
    assert_eq!(who.user.file, 9);
}

#[test]
fn capabilities_can_be_kept_over_a_change_of_user() {
    let mut who = root();
    who.keeps_capabilities = true;
    who.change(Kind::User, Change::Three([5; 3])).unwrap();
    assert_eq!(who.capabilities.permitted, DEFAULT_CAPABILITIES);
    assert_eq!(who.capabilities.effective, 0);
    let chown = capability::CHOWN;
    assert_eq!(who.set_capabilities(chown, chown, 0), Ok(()));
    assert!(who.can(chown));
    assert_eq!(
        who.set_capabilities(DEFAULT_CAPABILITIES, 0, 0),
        Err(NotPermitted)
    );
}

#[test]
fn a_set_id_program_takes_over_the_effective_ids() {
    let mut who = Credentials::new(5, 5, vec![5]);
    who.execute(Some(0), None);
    assert_eq!(
        (who.user.real, who.user.effective, who.group.effective),
        (5, 0, 5)
    );
    assert!(who.can(capability::SETUID));
    who.change(Kind::User, Change::Three([5; 3])).unwrap();
    assert_eq!(who.capabilities.permitted, 0);
}

#[test]
fn an_execution_settles_what_was_provisional() {
    let mut who = root();
    who.change(Kind::User, Change::Three([KEEP, 7, KEEP]))
        .unwrap();
    assert!(who.is_changed_by_execution(), "the saved id follows");
    who.execute(None, None);
    assert_eq!((who.user.real, who.user.saved), (0, 7));
    assert_eq!(who.capabilities.effective, 0);
    assert_eq!(who.capabilities.permitted, DEFAULT_CAPABILITIES);
    // What was kept over a change of user is not kept over an execution.
    let mut who = root();
    who.keeps_capabilities = true;
    who.change(Kind::User, Change::Three([5; 3])).unwrap();
    who.execute(None, None);
    assert_eq!(
        (who.capabilities.permitted, who.keeps_capabilities),
        (0, false)
    );
    for settled in [root(), Credentials::new(5, 5, vec![])] {
        assert!(!settled.is_changed_by_execution());
    }
}
