package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
)

// exec is a RUN.
type exec struct {
	Line     int      `json:"line"`
	On       *state   `json:"on,omitempty"`
	Args     []string `json:"args"`
	Env      []string `json:"env,omitempty"`
	Cwd      string   `json:"cwd,omitempty"`
	User     string   `json:"user,omitempty"`
	Hostname string   `json:"hostname,omitempty"`
	Network  string   `json:"network,omitempty"`
	Security string   `json:"security,omitempty"`
	Platform string   `json:"platform,omitempty"`
	// Proxy holds what is appended to the environment when the command is executed.
	Proxy      []string    `json:"proxy,omitempty"`
	Mounts     []mount     `json:"mounts,omitempty"`
	SecretEnvs []secretEnv `json:"secretEnvs,omitempty"`
	Devices    []device    `json:"devices,omitempty"`
}

// mount is a mount of a RUN besides its root.
type mount struct {
	Type     string `json:"type"`
	Target   string `json:"target"`
	From     *state `json:"from,omitempty"`
	Source   string `json:"source,omitempty"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	Size     int64  `json:"size,omitempty"`
	ID       string `json:"id,omitempty"`
	Sharing  string `json:"sharing,omitempty"`
	UID      uint32 `json:"uid,omitempty"`
	GID      uint32 `json:"gid,omitempty"`
	Mode     string `json:"mode,omitempty"`
	Optional bool   `json:"optional,omitempty"`
}

type secretEnv struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Optional bool   `json:"optional,omitempty"`
}

type device struct {
	Name     string `json:"name"`
	Optional bool   `json:"optional,omitempty"`
}

// fileOperation is a COPY, an ADD or a WORKDIR.
type fileOperation struct {
	Line int    `json:"line"`
	On   *state `json:"on,omitempty"`
	// Link says that the actions are done on an empty filesystem, which is laid over the other.
	Link    bool     `json:"link,omitempty"`
	Actions []action `json:"actions"`
}

// action is one of copy and mkdir.
type action struct {
	Copy  *copyFiles `json:"copy,omitempty"`
	Mkdir *directory `json:"mkdir,omitempty"`
}

type copyFiles struct {
	From                 *state   `json:"from,omitempty"`
	Source               string   `json:"source"`
	Destination          string   `json:"destination"`
	Owner                string   `json:"owner,omitempty"`
	Mode                 string   `json:"mode,omitempty"`
	FollowSymlink        bool     `json:"followSymlink,omitempty"`
	ContentsOfDirectory  bool     `json:"contentsOfDirectory,omitempty"`
	Unpack               bool     `json:"unpack,omitempty"`
	CreateDestination    bool     `json:"createDestination,omitempty"`
	Wildcards            bool     `json:"wildcards,omitempty"`
	EmptyWildcards       bool     `json:"emptyWildcards,omitempty"`
	ReplaceExistingPaths bool     `json:"replaceExistingPaths,omitempty"`
	Include              []string `json:"include,omitempty"`
	Exclude              []string `json:"exclude,omitempty"`
	Required             []string `json:"required,omitempty"`
	Timestamp            int64    `json:"timestamp,omitempty"`
}

type directory struct {
	On        *state `json:"on,omitempty"`
	Path      string `json:"path"`
	Mode      string `json:"mode"`
	Owner     string `json:"owner,omitempty"`
	Parents   bool   `json:"parents,omitempty"`
	Timestamp int64  `json:"timestamp,omitempty"`
}

func (r *reader) exec(line int, op *pb.Op) exec {
	run, meta := op.GetExec(), op.GetExec().GetMeta()
	found := exec{
		Line:     line,
		Args:     meta.GetArgs(),
		Env:      meta.GetEnv(),
		Cwd:      meta.GetCwd(),
		User:     meta.GetUser(),
		Hostname: meta.GetHostname(),
		Platform: platformText(op.Platform),
		Proxy:    proxies(meta.GetProxyEnv()),
	}
	if run.Network != pb.NetMode_UNSET {
		found.Network = strings.ToLower(run.Network.String())
	}
	if run.Security != pb.SecurityMode_SANDBOX {
		found.Security = strings.ToLower(run.Security.String())
	}
	for _, one := range run.Mounts {
		if one.Dest == "/" {
			found.On = r.named(op, one.Input)
			continue
		}
		found.Mounts = append(found.Mounts, r.mount(op, one))
	}
	for _, one := range run.Secretenv {
		found.SecretEnvs = append(found.SecretEnvs, secretEnv{one.ID, one.Name, one.Optional})
	}
	for _, one := range run.CdiDevices {
		found.Devices = append(found.Devices, device{one.Name, one.Optional})
	}
	return found
}

// proxies gives the variables in the order in which BuildKit appends them.
func proxies(proxy *pb.ProxyEnv) []string {
	if proxy == nil {
		return nil
	}
	var lines []string
	for _, one := range [][2]string{
		{"http_proxy", proxy.HttpProxy},
		{"https_proxy", proxy.HttpsProxy},
		{"ftp_proxy", proxy.FtpProxy},
		{"no_proxy", proxy.NoProxy},
		{"all_proxy", proxy.AllProxy},
	} {
		if one[1] != "" {
			lines = append(lines, strings.ToUpper(one[0])+"="+one[1], one[0]+"="+one[1])
		}
	}
	return lines
}

func (r *reader) mount(op *pb.Op, one *pb.Mount) mount {
	found := mount{
		Type:     strings.ToLower(one.MountType.String()),
		Target:   one.Dest,
		Source:   one.Selector,
		ReadOnly: one.Readonly,
	}
	switch one.MountType {
	case pb.MountType_BIND:
		found.From = r.named(op, one.Input)
	case pb.MountType_CACHE:
		found.From = r.named(op, one.Input)
		found.ID = one.CacheOpt.GetID()
		found.Sharing = strings.ToLower(one.CacheOpt.GetSharing().String())
	case pb.MountType_TMPFS:
		found.Size = one.TmpfsOpt.GetSize()
	case pb.MountType_SECRET:
		secret := one.SecretOpt
		found.ID, found.UID, found.GID = secret.GetID(), secret.GetUid(), secret.GetGid()
		found.Mode, found.Optional = octal(int64(secret.GetMode())), secret.GetOptional()
	case pb.MountType_SSH:
		ssh := one.SSHOpt
		found.ID, found.UID, found.GID = ssh.GetID(), ssh.GetUid(), ssh.GetGid()
		found.Mode, found.Optional = octal(int64(ssh.GetMode())), ssh.GetOptional()
	}
	return found
}

// named is the filesystem at an input, or nothing for the empty one.
func (r *reader) named(op *pb.Op, index int64) *state {
	found := r.input(op, index)
	if found.isEmpty() {
		return nil
	}
	return &found
}

// linked is a copy that a merge lays over what was there.
func (r *reader) linked(line int, merge *pb.Op) fileOperation {
	copied := r.operations[digest.Digest(merge.Inputs[1].Digest)]
	found := r.fileOperation(line, copied)
	found.Link = true
	found.On = r.named(merge, 0)
	return found
}

func (r *reader) fileOperation(line int, op *pb.Op) fileOperation {
	found := fileOperation{Line: line, On: r.named(op, op.GetFile().GetActions()[0].Input)}
	for _, one := range op.GetFile().GetActions() {
		switch {
		case one.GetCopy() != nil:
			found.Actions = append(found.Actions, action{Copy: r.copyFiles(op, one)})
		case one.GetMkdir() != nil:
			made := one.GetMkdir()
			found.Actions = append(found.Actions, action{Mkdir: &directory{
				Path:      made.Path,
				Mode:      octal(int64(made.Mode)),
				Owner:     owner(made.Owner),
				Parents:   made.MakeParents,
				Timestamp: timestamp(made.Timestamp),
			}})
		}
	}
	return found
}

func (r *reader) copyFiles(op *pb.Op, one *pb.FileAction) *copyFiles {
	copied := one.GetCopy()
	found := &copyFiles{
		From:                 r.named(op, one.SecondaryInput),
		Source:               copied.Src,
		Destination:          copied.Dest,
		Owner:                owner(copied.Owner),
		Mode:                 copied.ModeStr,
		FollowSymlink:        copied.FollowSymlink,
		ContentsOfDirectory:  copied.DirCopyContents,
		Unpack:               copied.AttemptUnpackDockerCompatibility,
		CreateDestination:    copied.CreateDestPath,
		Wildcards:            copied.AllowWildcard,
		EmptyWildcards:       copied.AllowEmptyWildcard,
		ReplaceExistingPaths: copied.AlwaysReplaceExistingDestPaths,
		Include:              slices.Clone(copied.IncludePatterns),
		Exclude:              slices.Clone(copied.ExcludePatterns),
		Required:             slices.Clone(copied.RequiredPaths),
		Timestamp:            timestamp(copied.Timestamp),
	}
	if found.Mode == "" && copied.Mode >= 0 {
		found.Mode = octal(int64(copied.Mode))
	}
	return found
}

// timestamp gives seconds, and 0 where the time is that of the file or of the clock.
func timestamp(nanoseconds int64) int64 {
	if nanoseconds < 0 {
		return 0
	}
	return nanoseconds / 1_000_000_000
}

// owner gives user:group, each a number or a name; a group that is not said is left out.
func owner(chown *pb.ChownOpt) string {
	if chown == nil {
		return ""
	}
	user, group := identity(chown.User), identity(chown.Group)
	if group == "" {
		return user
	}
	return user + ":" + group
}

func identity(user *pb.UserOpt) string {
	switch one := user.GetUser().(type) {
	case *pb.UserOpt_ByID:
		return strconv.FormatUint(uint64(one.ByID), 10)
	case *pb.UserOpt_ByName:
		return one.ByName.GetName()
	}
	return ""
}
