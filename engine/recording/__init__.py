"""Recording calls without transcoding, with the consent of both parties.

consent       who asked, who agreed: the rule (pure, part of the session's machine)
depacketize   RTP packets to frames, per codec (pure)
timeline      where frames stand: lip sync from sender reports (pure)
container     frames to one WebM or Matroska file
writer        which frames go to which file, in a thread of its own
service       which sessions are recorded, where the files are
leftovers     what a killed process did not close; remux copies it, in a process of its own
disk          what may hang, beside the event loop
"""
