//! Users and groups of a stage: `USER` and `--chown`, looked up in its own passwd and group files.
//!
//! Invariant: the files come from an image, so nothing in them is trusted to be well-formed or small.

/// How much of a passwd or group file is looked at, in bytes.
pub const USER_FILE_LIMIT: usize = 10 * 1024 * 1024;

/// Why a user or group cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// The stage has no user of this name.
    #[error("the stage has no user {0:?} in /etc/passwd")]
    UnknownUser(String),
    /// The stage has no group of this name.
    #[error("the stage has no group {0:?} in /etc/group")]
    UnknownGroup(String),
    /// An id is no 32-bit number.
    #[error("the id {0:?} is larger than 4294967294")]
    TooLarge(String),
}

/// The user database of a stage.
#[derive(Clone, Debug, Default)]
pub struct Users {
    passwd: Vec<Passwd>,
    groups: Vec<Group>,
}

#[derive(Clone, Debug)]
struct Passwd {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

#[derive(Clone, Debug)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// Who a RUN is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups, the primary one first.
    pub groups: Vec<u32>,
    /// Home directory, when the database has the user.
    pub home: Option<String>,
}

impl Users {
    /// Reads the two files; lines that are malformed are passed over, as the C library does, and so is what
    /// stands behind the limit.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        let passwd = String::from_utf8_lossy(within_limit(passwd));
        let group = String::from_utf8_lossy(within_limit(group));
        Self {
            passwd: passwd.lines().filter_map(Passwd::parse).collect(),
            groups: group.lines().filter_map(Group::parse).collect(),
        }
    }

    fn user(&self, text: &str) -> Option<&Passwd> {
        match number(text) {
            Ok(Some(uid)) => self.passwd.iter().find(|entry| entry.uid == uid),
            _ => self.passwd.iter().find(|entry| entry.name == text),
        }
    }

    fn group_id(&self, text: &str) -> Result<u32, UserError> {
        if let Some(id) = number(text)? {
            return Ok(id);
        }
        let found = self.groups.iter().find(|group| group.name == text);
        found
            .map(|group| group.gid)
            .ok_or_else(|| UserError::UnknownGroup(text.to_owned()))
    }

    fn groups_of(&self, name: &str, primary: u32) -> Vec<u32> {
        let mut groups = vec![primary];
        for group in &self.groups {
            if group.members.iter().any(|member| member == name) && !groups.contains(&group.gid) {
                groups.push(group.gid);
            }
        }
        groups
    }
}

/// The whole lines of a file up to the limit.
fn within_limit(file: &[u8]) -> &[u8] {
    let Some(start) = file
        .get(..USER_FILE_LIMIT)
        .filter(|start| start.len() < file.len())
    else {
        return file;
    };
    let end = start.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    start.get(..end).unwrap_or_default()
}

/// A number is an id, whatever users are called; anything else is a name.
fn number(text: &str) -> Result<Option<u32>, UserError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id != u32::MAX => Ok(Some(id)),
        _ => Err(UserError::TooLarge(text.to_owned())),
    }
}

impl Passwd {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let home = fields.nth(1).unwrap_or_default();
        Some(Self {
            name: name.to_owned(),
            uid,
            gid,
            home: home.to_owned(),
        })
    }
}

impl Group {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let gid = fields.next()?.parse().ok()?;
        let members = fields.next().unwrap_or_default();
        let members = members
            .split(',')
            .filter(|m| !m.is_empty())
            .map(str::to_owned)
            .collect();
        Some(Self {
            name: name.to_owned(),
            gid,
            members,
        })
    }
}

/// `user[:group]`; an empty group is none.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    }
}

/// Who `USER` means. Empty is root; an explicit group drops all supplementary ones.
///
/// # Errors
/// When a name is not in the database.
pub fn resolve_user(text: &str, users: &Users) -> Result<User, UserError> {
    let (user, group) = split(text);
    let user = if user.is_empty() { "0" } else { user };
    let entry = users.user(user);
    let uid = match number(user)? {
        Some(uid) => uid,
        None => {
            entry
                .ok_or_else(|| UserError::UnknownUser(user.to_owned()))?
                .uid
        }
    };
    let gid = match group {
        Some(group) => users.group_id(group)?,
        None => entry.map_or(0, |entry| entry.gid),
    };
    let groups = match (group, entry) {
        (None, Some(entry)) => users.groups_of(&entry.name, gid),
        _ => vec![gid],
    };
    let home = entry
        .map(|entry| entry.home.clone())
        .filter(|home| !home.is_empty());
    Ok(User {
        uid,
        gid,
        groups,
        home,
    })
}

/// Whom `--chown` means: `user[:group]`; without a group the user's primary one, or the same number.
///
/// # Errors
/// When a name is not in the database.
pub fn resolve_owner(text: &str, users: &Users) -> Result<(u32, u32), UserError> {
    let (user, group) = split(text);
    let (uid, primary) = match number(user)? {
        Some(uid) => (uid, uid),
        None if user.is_empty() => (0, 0),
        None => {
            let entry = users
                .user(user)
                .ok_or_else(|| UserError::UnknownUser(user.to_owned()))?;
            (entry.uid, entry.gid)
        }
    };
    Ok((
        uid,
        group.map_or(Ok(primary), |group| users.group_id(group))?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        Users::parse(
            b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:100:,,,:/home/app:/bin/sh\nbroken\n5:x:7:7::/:",
            b"root:x:0:\nusers:x:100:\nwheel:x:10:root,app\ndocker:x:11:app\n",
        )
    }

    #[test]
    fn user_is_looked_up_with_its_groups() {
        let app = resolve_user("app", &users()).unwrap();
        assert_eq!(
            (app.uid, app.gid, app.groups),
            (1000, 100, vec![100, 10, 11])
        );
        assert_eq!(app.home.as_deref(), Some("/home/app"));
        assert_eq!(resolve_user("1000", &users()).unwrap().gid, 100);
        let explicit = resolve_user("app:wheel", &users()).unwrap();
        assert_eq!((explicit.gid, explicit.groups), (10, vec![10]));
        let unknown = resolve_user("4242", &users()).unwrap();
        assert_eq!((unknown.uid, unknown.gid, unknown.home), (4242, 0, None));
        assert_eq!(resolve_user("", &Users::default()).unwrap().uid, 0);
        assert_eq!(
            resolve_user("5", &users()).unwrap().gid,
            0,
            "a number is never a name"
        );
        assert_eq!(resolve_user(":wheel", &users()).unwrap().gid, 10);
        assert_eq!(resolve_user("app:", &users()).unwrap().gid, 100);
        assert!(resolve_user("+1000", &users()).is_err());
        assert!(matches!(
            resolve_user("nobody", &users()),
            Err(UserError::UnknownUser(_))
        ));
        assert!(matches!(
            resolve_user("app:x", &users()),
            Err(UserError::UnknownGroup(_))
        ));
    }

    #[test]
    fn owners_are_numbers_or_known_names() {
        assert_eq!(resolve_owner("5", &users()), Ok((5, 5)));
        assert_eq!(resolve_owner("app", &users()), Ok((1000, 100)));
        assert_eq!(resolve_owner("app:0", &users()), Ok((1000, 0)));
        assert_eq!(resolve_owner("33:docker", &users()), Ok((33, 11)));
        assert!(resolve_owner("www-data", &users()).is_err());
        assert!(resolve_owner("4294967295", &users()).is_err());
        assert!(resolve_owner("99999999999", &users()).is_err());
    }

    #[test]
    fn files_from_an_image_are_neither_trusted_nor_read_without_end() {
        let mut passwd = b"first:x:1:1::/:\n".to_vec();
        passwd.resize(USER_FILE_LIMIT - 5, b'#');
        passwd.extend_from_slice(b"\nlast:x:2:2::/:\n\xff\xfe:x:3:3\n");
        let users = Users::parse(&passwd, b"\xff:::\ng:x:nan:\n::::::\n");
        assert!(resolve_user("first", &users).is_ok());
        assert!(resolve_user("last", &users).is_err());
    }
}
