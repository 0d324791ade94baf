//! What the kernel's FUSE asks, as commands to the machine.
//!
//! Must not know how long it is mounted.

use std::{
    collections::HashMap,
    ffi::OsStr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::{inodes::Inodes, lock};
use crate::{
    machine::{Kind, Machine},
    tasks::Procs,
};

/// Nothing is remembered by the kernel: every look is a new one.
const NO_TIME: Duration = Duration::ZERO;

pub(super) struct Files {
    machine: Arc<Mutex<Machine>>,
    procs: Procs,
    inodes: Mutex<Inodes>,
    /// What an open file showed at its first read: it stays the same until it is closed, as with the kernel.
    shown: Mutex<HashMap<u64, String>>,
    handles: AtomicU64,
}

impl Files {
    pub(super) fn new(machine: Arc<Mutex<Machine>>, procs: Procs) -> Self {
        let (inodes, shown) = (Mutex::new(Inodes::default()), Mutex::new(HashMap::new()));
        Self { machine, procs, inodes, shown, handles: AtomicU64::new(1) }
    }

    fn path(&self, inode: INodeNo) -> Result<Vec<String>, Errno> {
        lock(&self.inodes).path(inode.0).ok_or(Errno::ENOENT)
    }

    fn below(&self, parent: INodeNo, name: &OsStr) -> Result<Vec<String>, Errno> {
        let mut path = self.path(parent)?;
        path.push(name.to_str().ok_or(Errno::EINVAL)?.to_owned());
        Ok(path)
    }

    fn attributes(&self, path: &[String]) -> Result<FileAttr, Errno> {
        let kind = lock(&self.machine).kind(&parts(path)).ok_or(Errno::ENOENT)?;
        let (kind, perm) = match kind {
            Kind::Folder => (FileType::Directory, 0o755),
            Kind::ReadOnly => (FileType::RegularFile, 0o444),
            Kind::Writable => (FileType::RegularFile, 0o644),
        };
        let epoch = SystemTime::UNIX_EPOCH;
        Ok(FileAttr {
            ino: INodeNo(lock(&self.inodes).number(path)),
            size: 0,
            blocks: 0,
            atime: epoch,
            mtime: epoch,
            ctime: epoch,
            crtime: epoch,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    /// The machine, after a look at who is there.
    fn up_to_date(&self) -> (MutexGuard<'_, Machine>, u64) {
        let mut machine = lock(&self.machine);
        machine.observe(&self.procs.look());
        (machine, self.procs.now())
    }

    fn open_file(&self, inode: INodeNo, flags: OpenFlags) -> Result<(), Errno> {
        let kind = lock(&self.machine).kind(&parts(&self.path(inode)?)).ok_or(Errno::ENOENT)?;
        let writes = flags.acc_mode() != OpenAccMode::O_RDONLY;
        if writes && kind == Kind::ReadOnly { Err(Errno::EACCES) } else { Ok(()) }
    }

    fn read_file(
        &self,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
    ) -> Result<Vec<u8>, Errno> {
        let mut shown = lock(&self.shown);
        if offset == 0 || !shown.contains_key(&handle.0) {
            let path = self.path(inode)?;
            let tasks = path.last().is_some_and(|name| name == "tasks");
            let machine = if tasks { self.up_to_date().0 } else { lock(&self.machine) };
            shown.insert(handle.0, machine.read(&parts(&path)).map_err(errno)?);
        }
        let text = shown.get(&handle.0).map(String::as_bytes).unwrap_or_default();
        let (offset, size) =
            (usize::try_from(offset).unwrap_or(usize::MAX), usize::try_from(size).unwrap_or(0));
        Ok(text.iter().skip(offset).take(size).copied().collect())
    }

    fn write_file(&self, inode: INodeNo, data: &[u8], writer: u32) -> Result<u32, Errno> {
        let path = self.path(inode)?;
        let (mut machine, now) = self.up_to_date();
        machine.write(&parts(&path), data, writer, now).map_err(errno)?;
        u32::try_from(data.len()).map_err(|_| Errno::E2BIG)
    }

    fn make(&self, parent: INodeNo, name: &OsStr) -> Result<FileAttr, Errno> {
        let path = self.below(parent, name)?;
        self.up_to_date().0.mkdir(&parts(&path)).map_err(errno)?;
        self.attributes(&path)
    }

    fn remove(&self, parent: INodeNo, name: &OsStr) -> Result<(), Errno> {
        let path = self.below(parent, name)?;
        let (mut machine, now) = self.up_to_date();
        machine.rmdir(&parts(&path), now).map_err(errno)?;
        // A later group of this name is another one.
        lock(&self.inodes).forget(&path);
        Ok(())
    }

    fn entries(&self, inode: INodeNo) -> Result<Vec<(u64, FileType, String)>, Errno> {
        let path = self.path(inode)?;
        let list = lock(&self.machine).list(&parts(&path)).map_err(errno)?;
        let mut inodes = lock(&self.inodes);
        let itself = [".", ".."].map(|name| (inode.0, FileType::Directory, name.to_owned()));
        let entry = |(name, kind): (String, Kind)| {
            let mut path = path.clone();
            path.push(name.clone());
            let kind = if kind == Kind::Folder { FileType::Directory } else { FileType::RegularFile };
            (inodes.number(&path), kind, name)
        };
        Ok(itself.into_iter().chain(list.into_iter().map(entry)).collect())
    }
}

fn parts(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

fn errno(errno: nix::errno::Errno) -> Errno {
    Errno::from_i32(errno as i32)
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.below(parent, name).and_then(|path| self.attributes(&path)) {
            Ok(attributes) => reply.entry(&NO_TIME, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.path(inode).and_then(|path| self.attributes(&path)) {
            Ok(attributes) => reply.attr(&NO_TIME, &attributes),
            Err(error) => reply.error(error),
        }
    }

    /// Opening a file to be overwritten first cuts it: nothing to do for a file of the kernel.
    fn setattr(
        &self,
        request: &Request,
        inode: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.getattr(request, inode, handle, reply);
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        match self.make(parent, name) {
            Ok(attributes) => reply.entry(&NO_TIME, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.remove(parent, name) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: INodeNo,
        _: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EPERM);
    }

    fn unlink(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EPERM);
    }

    fn create(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        reply.error(Errno::EACCES);
    }

    fn open(&self, _: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.open_file(inode, flags) {
            Ok(()) => {
                let handle = self.handles.fetch_add(1, Ordering::Relaxed);
                // Without a flush, because a process that runs another program closes its files with a lock held
                // that we would wait for when we look it up in /proc.
                reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH);
            }
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.read_file(inode, handle, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        request: &Request,
        inode: INodeNo,
        _: FileHandle,
        _: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.write_file(inode, data, request.pid()) {
            Ok(size) => reply.written(size),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        lock(&self.shown).remove(&handle.0);
        reply.ok();
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let entries = match self.entries(inode) {
            Ok(entries) => entries,
            Err(error) => return reply.error(error),
        };
        let rest = (1_u64..).zip(entries).skip(usize::try_from(offset).unwrap_or(usize::MAX));
        for (next, (number, kind, name)) in rest {
            if reply.add(INodeNo(number), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}
